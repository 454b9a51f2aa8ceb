"""The sources of candidates, by name and in the order of every array that has one row per source."""

SOURCES = ("neighbors", "path", "covisit", "next", "popular", "trending", "segment", "content", "repeat", "new")

NEIGHBORS, PATH, COVISIT, NEXT, POPULAR, TRENDING, SEGMENT, CONTENT, REPEAT, NEW = range(len(SOURCES))

# Each source speaks to the blend twice: by its relative score and by its rank.
FEATURES = 2 * len(SOURCES)
