"""memOS's own class names and signatures over our services: memOS changes one import per module.

Names, defaults, return shapes and values of enumerations are memOS's; its defects are not here. The
caller's session comes first, and the caller commits. Imported by memOS, and by no room of ours.
"""
