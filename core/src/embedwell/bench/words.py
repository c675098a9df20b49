"""The words that generated texts are made of; plain ones, and ones that WordPiece splits."""

LINKING = """
the a of and to in is that for it as was with on by at from are this an be have which or not were
but had their one its you all has been more when who will would there can if no out so what up about
into than them then some could these two may other do first any like now over such our even most
after also many before through where much should well between under never while because each those
""".split()  # noqa: SIM905 - a hundred quotes would hide the words

TELLING = """
water river bridge morning evening garden letter answer question doctor teacher market village city
road journey captain engine machine window kitchen bread coffee sugar weather winter summer forest
mountain island harbour ship sailor railway station ticket library history science theory method
measure number letter paper printer editor printing colour picture painter music singer orchestra
violin concert theatre actor story novel chapter sentence language grammar meaning reader writer
farmer field harvest wheat barley orchard apple cherry meadow cattle horse saddle wagon wheel hammer
carpenter timber furniture table chair lantern candle shadow silence thunder lightning rainfall
temperature pressure velocity boundary layer surface friction turbulence airflow wing propeller
aircraft pilot altitude compass satellite telescope planet gravity orbit energy battery current
voltage circuit signal antenna receiver frequency oscillator amplifier transistor keyboard screen
network server router packet protocol database index query storage memory processor compiler
parser function variable argument library interface thread deadline schedule calendar meeting office
manager contract invoice payment budget account customer supplier delivery warehouse inventory order
discount refund insurance mortgage interest inflation currency economy election parliament minister
treaty border embassy citizen passport lawyer judge court verdict evidence witness detective burglar
hospital nurse patient surgery fracture infection vaccine antibody protein enzyme membrane neuron
cell tissue muscle skeleton heartbeat breathing nutrition vitamin calcium magnesium potassium
chemistry solvent catalyst polymer crystal mineral granite limestone volcano earthquake glacier
walked carried opened closed repaired painted measured compared described explained promised refused
discovered invented translated published delivered returned borrowed replaced remembered forgotten
imagined counted gathered scattered tightened loosened polished sharpened planted watered harvested
quickly slowly carefully quietly nearly barely often seldom rarely almost entirely partly together
heavy narrow shallow distant ancient modern curious patient careless generous stubborn transparent
fragile sturdy hollow crooked smooth rough bitter sour fragrant crimson turquoise lavender silvery
unforeseeable counterclockwise electromagnetic thermoplastic photosynthesis microorganism
hydrodynamics reproducibility interoperability tokenisation misconfigured decentralised
underestimated shipbuilding beekeeping glassblowing stonemasonry clockmaker lighthouse windmill
marmalade gingerbread rhubarb artichoke buckwheat chamomile sandpiper kingfisher hedgehog wolverine
Marrowby Ellingford Quistadt Vandermoor Okonjala Tresilian Halvorsen Castellane Petrovna Nakashiro
1987 2031 42 350 7.5 0.25 1,200 18th GX-40 B12 T-7 3D
""".split()  # noqa: SIM905 - a hundred quotes would hide the words
