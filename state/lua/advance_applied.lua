-- Move applied[partition] forward to `end`, after the users up to there were written.
-- KEYS: the `applied` hash, then witnesses: the last user hash of each write_users.lua call of the same commit.
-- ARGV: partition; expected (the least the stored value may be, or -1: any); end; then for each witness its offset, or where the
--       user was forgotten -1 less that offset: then the hash must be gone, or be of a later event.
-- Returns the value stored before, -1 when there was none. It is left alone when it is below expected (Redis lost writes),
-- when it is not below end (a replay or a newer writer), or when a witness is older than its offset: then a write failed,
-- and events that are in no profile must not count as applied.
local partition, expected, stop = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local stored = tonumber(redis.call('HGET', KEYS[1], partition) or -1)
if stored < expected or stored >= stop then return stored end
for i = 2, #KEYS do
  local at, wanted = redis.call('HGET', KEYS[i], 'at:' .. partition), tonumber(ARGV[i + 2])
  if wanted < 0 then
    if at and tonumber(at) < -1 - wanted then return stored end
  elseif not at or tonumber(at) < wanted then return stored end
end
redis.call('HSET', KEYS[1], partition, ARGV[3])
return stored
