-- Make a complete new snapshot the newest one.
-- KEYS: the `snapshot` pointer hash; the n parts of the new snapshot; the parts that no pointer will name any more.
-- ARGV: the pointer's `newest` as the caller read it ('' = none); the new `newest`; the new `previous` ('' = none); n; the
--       snapshots that the caller removes itself after this ('' = none), for their keys may live on other servers.
-- Returns 1 when flipped; 0, having changed nothing, when another writer flipped since the caller read the pointer (the
-- caller checked its own offset against what it read, so the pointer never goes back); -1 when a new part is missing.
local parts = tonumber(ARGV[4])
if (redis.call('HGET', KEYS[1], 'newest') or '') ~= ARGV[1] then return 0 end
for i = 2, parts + 1 do
  if redis.call('EXISTS', KEYS[i]) == 0 then return -1 end
end
redis.call('HSET', KEYS[1], 'newest', ARGV[2])
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], 'previous')
else redis.call('HSET', KEYS[1], 'previous', ARGV[3]) end
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'dropped', ARGV[5]) end
for i = 2, parts + 1 do redis.call('PERSIST', KEYS[i]) end
for i = parts + 2, #KEYS do redis.call('UNLINK', KEYS[i]) end
return 1
