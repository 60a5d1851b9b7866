"""How good the detection of contradictions is: on published pairs, on a set of ours, in chats."""
