-- Leases the jobs that are due, the longest due first. A lease that is over is due again.
--
-- KEYS: jobs by the moment at which they may be leased
-- ARGV: now, until, at most, prefix of jobs
local queue, now, till = KEYS[1], ARGV[1], ARGV[2]

local leased = {}
local last = '[' .. now .. string.rep('\255', 17)
for _, member in ipairs(redis.call('ZRANGEBYLEX', queue, '-', last, 'LIMIT', 0, ARGV[3])) do
  local id = string.sub(member, 21)
  local key = ARGV[4] .. id
  local due, attempt, task = unpack(redis.call('HMGET', key, 'due', 'attempt', 'task'))
  redis.call('ZREM', queue, member)
  -- A job that somebody deleted by hand must not stand in the way of the others.
  if due and attempt and task then
    attempt = string.format('%.0f', math.min(tonumber(attempt) + 1, 4294967295))
    redis.call('HSET', key, 'attempt', attempt, 'next', till, 'leased', '1')
    redis.call('ZADD', queue, 0, till .. id)
    leased[#leased + 1] = { id, due, attempt, task }
  end
end
return leased
