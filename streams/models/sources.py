"""The sources of candidates, by name and in the order of every array that has one row per source."""

SOURCES = ("neighbors", "path", "covisit", "next", "popular", "trending", "segment", "content", "repeat", "new")

NEIGHBORS, PATH, COVISIT, NEXT, POPULAR, TRENDING, SEGMENT, CONTENT, REPEAT, NEW = range(len(SOURCES))

# What an item is to the user, whatever the sources say: 1 / its place among the user's items, newest first; how often the
# user met it; how long ago; how often it was shown to the user since, without a word; how often everybody visited it; and how
# alike it is to what the user disliked.
TRAITS = ("place", "times", "since", "shown", "visits", "disliked")

# Each source speaks to the blend twice: by its relative score and by its rank; then come the traits. All are from 0 to 1.
FEATURES = 2 * len(SOURCES) + len(TRAITS)
PLACE, TIMES, SINCE, SHOWN, VISITS, DISLIKED = range(2 * len(SOURCES), FEATURES)
