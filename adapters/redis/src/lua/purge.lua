-- Deletes records that nobody holds or watches: those that expired first.
--
-- KEYS: what the purge may take
-- ARGV: expired before, how many to look at, prefix of records, prefix of the users' open records
local purgeable = KEYS[1]

local seen, removed = 0, 0
for _, member in ipairs(redis.call('ZRANGEBYLEX', purgeable, '-', '(' .. ARGV[1], 'LIMIT', 0, ARGV[2])) do
  seen = seen + 1
  local key = ARGV[3] .. string.sub(member, 21)
  local user = redis.call('HGET', key, 'user')
  if user then
    redis.call('ZREM', ARGV[4] .. user, member)
  end
  removed = removed + redis.call('DEL', key)
  redis.call('ZREM', purgeable, member)
end
return { seen, removed }
