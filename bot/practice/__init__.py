"""What demo and drills run against: a Slack workspace, a node fleet and scenarios, all simulated.

Imports nothing else of ours and speaks HTTP only.
"""
