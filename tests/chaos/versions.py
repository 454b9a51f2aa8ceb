"""Which earlier version runs beside this one in a rolling upgrade; both must have the same version of records."""

EARLIER = "30232dc22ff6"
