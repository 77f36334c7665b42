-- A node says that it lives, and learns how many do.
--
-- KEYS[1] when each node was last heard of, by this clock; KEYS[2] the fingerprint of the installation's secret.
-- ARGV[1] the node; ARGV[2] its fingerprint, 8 bytes; ARGV[3] for how many milliseconds a node counts as alive.
--
-- The answer: how many nodes are alive, and 1 if the fingerprint is the one that others told, else 0.

local node, secret, memory = ARGV[1], ARGV[2], tonumber(ARGV[3])
if #KEYS ~= 2 or #ARGV ~= 3 or not memory or not (memory >= 1 and memory < 1e9) or #secret ~= 8 or #node < 1 or #node > 16 then
  return redis.error_reply('SGARG presence')
end

local time = redis.call('TIME')
local now = time[1] * 1000 + (time[2] - time[2] % 1000) / 1000
local known = redis.pcall('GET', KEYS[2])
if type(known) ~= 'string' or #known ~= 8 then known = secret end

-- What somebody else wrote here, or wrote while the clock was ahead, is not a node.
local cleared = redis.pcall('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. string.format('%d', now - memory))
if type(cleared) ~= 'number' then redis.call('PEXPIRE', KEYS[1], 0) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '(' .. string.format('%d', now + memory), '+inf')

redis.call('ZADD', KEYS[1], string.format('%d', now), node)
redis.call('PEXPIRE', KEYS[1], memory)
if known == secret then redis.call('SET', KEYS[2], secret, 'PX', memory) end
return {redis.call('ZCARD', KEYS[1]), known == secret and 1 or 0}
