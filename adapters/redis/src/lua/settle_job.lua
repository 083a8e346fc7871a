-- The holder of the present lease ends it: the job is done, waits again, or is given up.
--
-- KEYS: the job, jobs by the moment at which they may be leased, dead letters
-- ARGV: id, attempt, how, moment
local job, queue, dead = KEYS[1], KEYS[2], KEYS[3]
local id, attempt, how, at = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local present, leased, place = unpack(redis.call('HMGET', job, 'attempt', 'leased', 'next'))
if not leased or not place or present ~= attempt then
  return 0
end

redis.call('ZREM', queue, place .. id)
if how == 'ack' then
  redis.call('DEL', job)
elseif how == 'retry' then
  redis.call('HDEL', job, 'leased')
  redis.call('HSET', job, 'next', at)
  redis.call('ZADD', queue, 0, at .. id)
else
  redis.call('HDEL', job, 'leased', 'next')
  redis.call('HSET', job, 'dead', at)
  redis.call('ZADD', dead, 0, at .. id)
end
return 1
