// What Slack's published types lack: bodies that leave in answer to a request, not through the Web API.
// After https://docs.slack.dev/interactivity/handling-user-interaction and /surfaces/modals#updating_response.
import type { KnownBlock, ModalView } from '@slack/types';

/** A message that a response_url or a slash command's acknowledgement takes. */
export interface Respond {
  text: string;
  blocks?: KnownBlock[];
  response_type?: 'ephemeral' | 'in_channel';
  replace_original?: boolean;
  delete_original?: boolean;
  thread_ts?: string;
}

/** What a view_submission is acknowledged with. */
export type Submitted =
  | { response_action: 'errors'; errors: Record<string, string> }
  | { response_action: 'update' | 'push'; view: ModalView }
  | { response_action: 'clear' };
