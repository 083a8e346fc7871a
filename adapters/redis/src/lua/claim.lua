-- State::claim: who may try to change the password.
--
-- KEYS: the record, what the sweep looks at, what the purge may take
-- ARGV: selector, claim, now, until, prefix of the users' open records
local record, due, purgeable = KEYS[1], KEYS[2], KEYS[3]
local selector, claim, now, till = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local expires, user, spent, revoked, holder, held =
  unpack(redis.call('HMGET', record, 'expires', 'user', 'spent', 'revoked', 'claim', 'until'))
if not expires or not user or spent or revoked then
  return 'refused'
end
if holder and held and now < held then
  return 'held'
end

redis.call('HSET', record, 'claim', claim, 'until', till)
if held then
  redis.call('ZREM', due, held .. selector)
end
redis.call('ZADD', due, 0, till .. selector)
redis.call('ZREM', purgeable, expires .. selector)
-- From now on nothing may forget it: neither the purge nor a time to live.
redis.call('PERSIST', record)
redis.call('PERSIST', ARGV[5] .. user)
return 'won'
