// Serves emulate's Slack on 127.0.0.1 at a free port until its standard input ends; prints its address as one JSON line.
// The seed comes as the first argument. emulate's command line would do, but wants a newer Node than this library.
import { createServer } from 'node:net';
import { createEmulator } from 'emulate';

const free = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

const emulator = await createEmulator({ service: 'slack', port: await free(), seed: { slack: JSON.parse(process.argv[2]) } });
console.log(JSON.stringify({ url: emulator.url }));
process.stdin.resume();
process.stdin.on('end', async () => {
  await emulator.close();
  process.exit(0);
});
