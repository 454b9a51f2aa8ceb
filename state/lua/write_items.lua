-- Write the catalogue fields of items, each only where its offset in the items topic is newer (the fence).
-- KEYS: n item hashes.
-- ARGV: partition; TTL in seconds; number f of fields; f field names; then for each item: offset, f values ('' = absent).
-- Returns the number of hashes written. A deleted item has only absent values; its offset stays behind as a tombstone.
local fence, ttl, fields, written = 'at:' .. ARGV[1], ARGV[2], tonumber(ARGV[3]), 0
for i = 1, #KEYS do
  local a = 4 + fields + (i - 1) * (fields + 1)
  local stored = redis.call('HGET', KEYS[i], fence)
  if not stored or tonumber(stored) < tonumber(ARGV[a]) then
    redis.call('HSET', KEYS[i], fence, ARGV[a])
    for f = 1, fields do
      if ARGV[a + f] == '' then redis.call('HDEL', KEYS[i], ARGV[3 + f])
      else redis.call('HSET', KEYS[i], ARGV[3 + f], ARGV[a + f]) end
    end
    redis.call('EXPIRE', KEYS[i], ttl)
    written = written + 1
  end
end
return written
