-- Say up to where catalogue entries were kept, and notice when Redis lost some that were kept before.
-- KEYS: the `catalogue` hash.
-- ARGV: for each partition: partition; kept, the end that the caller said last (-1: none); first, the offset from which on
--       it kept entries now (-1: it read from the topic's beginning); the offset after the last.
-- Returns 1 when the entries between the stored end and `first` are missing, 0 otherwise. An end below `first` is a gap,
-- unless the caller said that end itself: then a compacted topic has nothing in between. Ends only ever rise.
local gap = 0
for a = 1, #ARGV, 4 do
  local field, stop = 'end:' .. ARGV[a], tonumber(ARGV[a + 3])
  local stored = tonumber(redis.call('HGET', KEYS[1], field) or 0)
  if stored < tonumber(ARGV[a + 2]) and stored ~= tonumber(ARGV[a + 1]) then gap = 1 end
  if stored < stop then redis.call('HSET', KEYS[1], field, ARGV[a + 3]) end
end
if gap == 1 then redis.call('HDEL', KEYS[1], 'whole') end
return gap
