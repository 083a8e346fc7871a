-- State::revoke on one record. A claim or a watch stays where it is.
--
-- KEYS: the record
-- ARGV: selector, moment, why, prefix of the users' open records
local expires, user, spent, revoked =
  unpack(redis.call('HMGET', KEYS[1], 'expires', 'user', 'spent', 'revoked'))
if not expires or not user or spent or revoked then
  return 0
end
redis.call('HSET', KEYS[1], 'revoked', ARGV[2], 'why', ARGV[3])
redis.call('ZREM', ARGV[4] .. user, expires .. ARGV[1])
return 1
