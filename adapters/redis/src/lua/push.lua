-- A new job; never in the place of another.
--
-- KEYS: the job, jobs by the moment at which they may be leased
-- ARGV: id, due, task
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 'taken'
end
redis.call('HSET', KEYS[1], 'due', ARGV[2], 'next', ARGV[2], 'attempt', '0', 'task', ARGV[3])
redis.call('ZADD', KEYS[2], 0, ARGV[2] .. ARGV[1])
return 'done'
