-- State::revoke on one record. A claim or a watch stays where it is.
--
-- KEYS: the record
-- ARGV: selector, moment, why, prefix of the users' open records
local expires, user, spent, revoked =
  unpack(redis.call('HMGET', KEYS[1], 'expires', 'user', 'spent', 'revoked'))
if not expires or not user or spent or revoked then
  return 0
end
-- First what frees memory: a server without any refuses a script whose first change needs some, and
-- a token must be revocable there too.
redis.call('ZREM', ARGV[4] .. user, expires .. ARGV[1])
redis.call('HSET', KEYS[1], 'revoked', ARGV[2], 'why', ARGV[3])
return 1
