-- Move applied[partition] forward to `end`, after the users up to there were written.
-- KEYS: the `applied` hash, then witnesses: the last user hash of each write_users.lua call of the same commit.
-- ARGV: partition; expected (the least the stored value may be, or -1: any); end; then one offset per witness.
-- Returns the value stored before, -1 when there was none. It is left alone when it is below expected (Redis lost writes),
-- when it is not below end (a replay or a newer writer), or when a witness is older than its offset: then a write failed,
-- and events that are in no profile must not count as applied.
local partition, expected, stop = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local stored = tonumber(redis.call('HGET', KEYS[1], partition) or -1)
if stored < expected or stored >= stop then return stored end
for i = 2, #KEYS do
  local at = redis.call('HGET', KEYS[i], 'at:' .. partition)
  if not at or tonumber(at) < tonumber(ARGV[i + 2]) then return stored end
end
redis.call('HSET', KEYS[1], partition, ARGV[3])
return stored
