-- Write the profiles of users of one events partition, each only where it is newer than the stored one (the fence).
-- KEYS: n user hashes, then the `applied` hash when ARGV[3] is not -1.
-- ARGV: partition; TTL in seconds; expected (the least applied[partition] may be, or -1: do not look); then for each user
--       at, events, updated_at, segment ('' = none), history, interests, interests_at, neighbors, recommendations,
--       others (offsets of further partitions that the profile covers, "3=17 5=99"; they only ever rise).
-- Returns the number of hashes written, or -1, having written nothing, when applied[partition] is below expected:
-- Redis lost writes, and profiles built on the lost ones must not be stored.
local partition, ttl, expected = ARGV[1], ARGV[2], tonumber(ARGV[3])
local users = #KEYS
if expected >= 0 then
  if tonumber(redis.call('HGET', KEYS[users], partition) or -1) < expected then return -1 end
  users = users - 1
end
local fence, written, a = 'at:' .. partition, 0, 4
for i = 1, users do
  local key, at = KEYS[i], ARGV[a]
  local stored = redis.call('HGET', key, fence)
  if not stored or tonumber(stored) < tonumber(at) then
    redis.call('HSET', key, fence, at, 'events', ARGV[a + 1], 'updated_at', ARGV[a + 2], 'history', ARGV[a + 4],
      'interests', ARGV[a + 5], 'interests_at', ARGV[a + 6], 'neighbors', ARGV[a + 7], 'recommendations', ARGV[a + 8])
    if ARGV[a + 3] == '' then redis.call('HDEL', key, 'segment')
    else redis.call('HSET', key, 'segment', ARGV[a + 3]) end
    if ARGV[a + 9] ~= '' then
      for other, offset in string.gmatch(ARGV[a + 9], '(%d+)=(%d+)') do
        local known = redis.call('HGET', key, 'at:' .. other)
        if not known or tonumber(known) < tonumber(offset) then redis.call('HSET', key, 'at:' .. other, offset) end
      end
    end
    redis.call('EXPIRE', key, ttl)
    written = written + 1
  end
  a = a + 10
end
return written
