"""memOS's own class names and signatures over ours: memOS changes one import per module.

Imported by memOS, by nothing of ours. What memOS's classes promise is here; their faults are not.
"""
