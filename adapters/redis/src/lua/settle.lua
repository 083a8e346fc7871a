-- State::settle: the holder ends its claim.
--
-- KEYS: the record, what the sweep looks at, what the purge may take
-- ARGV: selector, claim, how, moment, prefix of the users' open records
local record, due, purgeable = KEYS[1], KEYS[2], KEYS[3]
local selector, claim, how, at = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local expires, user, keep, spent, holder, held =
  unpack(redis.call('HMGET', record, 'expires', 'user', 'keep', 'spent', 'claim', 'until'))
if not expires or not user or not held or spent or holder ~= claim then
  return 0
end

redis.call('ZREM', due, held .. selector)
if how == 'released' then
  redis.call('HDEL', record, 'claim')
  redis.call('HSET', record, 'until', at)
  redis.call('ZADD', due, 0, at .. selector)
  return 1
end
if how == 'spent' then
  redis.call('HSET', record, 'spent', at)
  redis.call('ZREM', ARGV[5] .. user, expires .. selector)
else
  redis.call('HDEL', record, 'claim', 'until')
end
-- Nobody waits for it any more.
redis.call('ZADD', purgeable, 0, expires .. selector)
redis.call('PEXPIRE', record, keep)
return 1
