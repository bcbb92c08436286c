"""What people read: the notice e-mail (L3, L4) and the two letters (L6, L7), composed from facts and template folders.

`plain` cleans what comes from outside, `wording` writes dates and lengths in Dutch, `envelope` the postal address,
`paper` knows what a letter weighs, `templates` reads the files, `notice` and `letter` put them together. Nothing here
looks at a clock or a database.
"""
