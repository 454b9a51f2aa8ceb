"""Placeholder, to be replaced by the compiled encoder (helper M2 owns this file: overwrite it)."""
import msgspec
from streams.models.sources import SOURCES


def items_json(ranked, items):
    out = []
    for u in range(len(ranked.count)):
        rows = []
        for r in range(ranked.count[u]):
            reasons = [{"source": SOURCES[s], "share": round(float(sh), 4), "because": [items.name(int(b)).decode() for b in bc if b >= 0]}
                       for s, sh, bc in zip(ranked.source[u, r], ranked.share[u, r], ranked.because[u, r]) if s >= 0]
            rows.append({"item_id": items.name(int(ranked.items[u, r])).decode(), "score": round(float(ranked.scores[u, r]), 4), "reasons": reasons})
        out.append(msgspec.json.encode(rows))
    return out


def neighbors_json(ranked, users, n=10):
    return [msgspec.json.encode([{"user_id": users.name(int(v)).decode(), "similarity": round(float(s), 4)} for v, s in zip(a[:n], b[:n]) if v >= 0])
            for a, b in zip(ranked.neighbors, ranked.similarity)]
