-- Write the profiles of users of one events partition, each only where it is newer than the stored one (the fence).
-- KEYS: n user hashes, then the `applied` hash when ARGV[4] is not -1.
-- ARGV: partition; TTL in seconds; expected (the least applied[partition] may be, or -1: any); end (the offset after the batch,
--       or -1: do not look at `applied`); then for each user
--       at, events, updated_at, segment ('' = none), history, interests, interests_at, neighbors, recommendations,
--       others (offsets of further partitions that the profile covers, "3=17 5=99"; they only ever rise),
--       consent ('' = nothing said), consent_from ('' = none), person ('1', or ''), aliases, alias, alias_from, alias_home (each
--       '' = none), and mode: '' = all of it; 'standing' = of it only the fences and the seven from consent on; 'anew' and
--       'only' = the same two, but first what is stored is deleted; 'gone' = it is deleted, and nothing is written.
-- Returns the number of hashes written; -1, having written nothing, when applied[partition] is below expected: Redis lost
-- writes, and profiles built on the lost ones must not be stored; -2, having written nothing, when it is not below end: all of
-- this was written, and of a user who was forgotten since, there is no fence that would keep it out.
local partition, ttl, expected, stop = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local users = #KEYS
if stop >= 0 then
  local applied = tonumber(redis.call('HGET', KEYS[users], partition) or -1)
  if applied < expected then return -1 end
  if applied >= stop then return -2 end
  users = users - 1
end
local fence, written, a = 'at:' .. partition, 0, 5

local function put(key, field, value)
  if value == '' then redis.call('HDEL', key, field) else redis.call('HSET', key, field, value) end
end

for i = 1, users do
  local key, at, mode = KEYS[i], ARGV[a], ARGV[a + 17]
  local stored = redis.call('HGET', key, fence)
  if not stored or tonumber(stored) < tonumber(at) then
    if mode == 'anew' or mode == 'only' or mode == 'gone' then redis.call('DEL', key) end
    if mode == '' or mode == 'anew' then
      redis.call('HSET', key, fence, at, 'events', ARGV[a + 1], 'updated_at', ARGV[a + 2], 'history', ARGV[a + 4],
        'interests', ARGV[a + 5], 'interests_at', ARGV[a + 6], 'neighbors', ARGV[a + 7], 'recommendations', ARGV[a + 8])
      put(key, 'segment', ARGV[a + 3])
    end
    if mode ~= 'gone' then
      if mode == 'standing' or mode == 'only' then redis.call('HSET', key, fence, at) end
      if ARGV[a + 10] ~= '' or mode ~= '' then
        put(key, 'consent', ARGV[a + 10])
        put(key, 'consent_from', ARGV[a + 11])
      end
      if ARGV[a + 12] ~= '' or mode ~= '' then
        put(key, 'person', ARGV[a + 12])
        put(key, 'aliases', ARGV[a + 13])
        put(key, 'alias', ARGV[a + 14])
        put(key, 'alias_from', ARGV[a + 15])
        put(key, 'alias_home', ARGV[a + 16])
      end
      if ARGV[a + 9] ~= '' then
        for other, offset in string.gmatch(ARGV[a + 9], '(%d+)=(%d+)') do
          local known = redis.call('HGET', key, 'at:' .. other)
          if not known or tonumber(known) < tonumber(offset) then redis.call('HSET', key, 'at:' .. other, offset) end
        end
      end
      redis.call('EXPIRE', key, ttl)
    end
    written = written + 1
  end
  a = a + 18
end
return written
