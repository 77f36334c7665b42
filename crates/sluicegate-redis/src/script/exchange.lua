-- One call: what up to 128 keys of one lane are asked, done all at once or not at all.
--
-- The arithmetic is that of `sluicegate_core::sharing`, step by step in the same order, so that both come to the same numbers.
-- Nothing is written before everything was read and found valid. Times are microseconds since 2024-01-01T00:00:00Z; every number
-- is a little-endian double.
--
-- KEYS[1]  the lane's generation: 8 bytes that whoever finds none draws.
-- KEYS[2…] a key for each record.
-- ARGV[1]  the generation expected (zeros: any), one to set if there is none, the deadline (0: none), the node's estimate of this
--          clock (0: none), and whether to prolong the generation's life (0: no).
-- ARGV[2]  the records: a byte of flags, then
--          of a bucket or a window (flags + 0, 1 sliding, 2 fixed):
--            a second byte if flags + 64: + 1 if what is taken stays outstanding, + 2 to clear the key, + 4 for a lock
--            [interval, burst, ttl, theta, overdraft, and of a lock lock] unless flags + 4, "as in the record before"
--            pay, take, want, refund, demand, own, chance
--            [epoch, spent, returned, and where what is taken stays outstanding reserved] if flags + 8, and again if flags + 16
--            [seen, seen_epoch, held] if flags + 32
--          of permits (flags + 3; + 4 while learning):
--            node, in_use, target, limit, ttl
--
-- The answer, of more than 64 keys in two pieces: a byte, 0 done, 1 of another generation, 2 late; the lane's generation; this clock's time; and if it was done,
-- of each key a byte, + 1 if what was kept made no sense, + 2 of a bucket that is locked, and
--   of a bucket:  taken, granted, and what is kept: tat, demand, demand_at, current, previous, epoch_ends_at, and locked_until if it is
--   of a window:  taken, granted, and what is kept: window, current, previous, demand, demand_at
--   of permits:   granted, free

local UNIX_US = 1704067200000000
local AHEAD_US = 50000      -- How far below a node's estimate of this clock the clock may be before it is believed to have gone back,
local FORWARD_US = 1000000  -- and how far forward the estimates of nodes can move it.
local BACK_US = 1100000     -- What is owed to a clock that went back by more is as much as it was.
local EXTRA_US = 1000000
local DEMAND_MAX = 1e10
local MOST = 1e15           -- Of any number that comes in: with it no product below leaves what a double can hold.
local NODES_MAX = 2000
local QUARTERS_MAX = 4e9    -- Thirty years: what lives longer is damage.
local GENERATION_MS = 604800000
local HALF = 65             -- A string above 8 KiB would be put together twice, and each byte of it costs.
local ZEROS = '\0\0\0\0\0\0\0\0'

local keys, records = KEYS, ARGV[2]
local call, pcall, unpack_from, pack = redis.call, redis.pcall, struct.unpack, struct.pack
local exp, byte, sub, format, huge = math.exp, string.byte, string.sub, string.format, math.huge
local keys_count = #keys

if keys_count < 1 or keys_count > 129 or #ARGV ~= 2 or #ARGV[1] ~= 40 then
  return redis.error_reply('SGARG counts')
end
local expected, fresh, deadline, estimate, prolong = unpack_from('<c8c8ddd', ARGV[1])
if fresh == ZEROS or not (deadline >= 0 and deadline < huge and estimate >= 0 and estimate < huge) then
  return redis.error_reply('SGARG header')
end

local time = call('TIME')
local now = time[1] * 1000000 + time[2] - UNIX_US
if now < estimate - AHEAD_US then
  local forward = now + FORWARD_US
  now = estimate - AHEAD_US
  if now > forward then now = forward end
end
if deadline > 0 and now > deadline then
  return pack('<Bc8d', 2, ZEROS, now)
end

local generation = pcall('GET', keys[1])
local unset = type(generation) ~= 'string' or #generation ~= 8 or generation == ZEROS
if unset then generation = fresh end
if expected ~= ZEROS and generation ~= expected then
  if unset then call('SET', keys[1], generation, 'PX', GENERATION_MS) end
  return pack('<Bc8d', 1, generation, now)
end

local kept
if keys_count > 1 then kept = call('MGET', unpack(keys, 2)) end

-- For how long it is kept, and what is answered. What is to be written goes where what was kept came from: nothing is written before all
-- is known.
local lives, replies = {}, {}
replies[3] = pack('<Bc8d', 0, generation, now)

local at = 1
local interval, burst, ttl, theta, overdraft, lock, rate_of_limit

for i = 2, keys_count do
  local flags = byte(records, at)
  if not flags then return redis.error_reply('SGARG length') end
  at = at + 1
  local damaged = 0
  local value = kept[i - 1]
  if not value then
    value = pcall('GET', keys[i])
    if value then damaged, value = 1, false end
  end
  local kind = flags % 4

  if kind == 3 then
    local node, in_use, target, limit, span
    node, in_use, target, limit, span, at = unpack_from('<ddddd', records, at)
    if flags > 7
      or not (node >= 1 and in_use >= 0 and target >= 0 and limit >= 0 and span > 0)
      or not (node < 9007199254740992 and in_use + target + limit + span < MOST)
    then
      return redis.error_reply('SGARG permits')
    end
    local length = value and #value or 0
    if length % 24 ~= 0 then damaged, length = 1, 0 end
    local latest = now + 2 * span
    local own, others, count, last = nil, 0, 0, 0
    -- Runs of parts that stay as they are, `from` on; in between, parts that were cut short.
    local pieces, from = {}, 1
    for start = 1, length, 24 do
      local whose, permits, ends_at = unpack_from('<ddd', value, start)
      if not (whose >= 0 and permits >= 0 and ends_at >= 0 and whose < huge and permits < huge and ends_at < huge) then
        damaged, own, others, count, last, pieces, length, from = 1, nil, 0, 0, 0, {}, 0, 1
        break
      end
      local stays = ends_at
      if ends_at > latest then stays = latest end
      local is_own = whose == node
      if stays > now and not is_own then
        others = others + permits
        count = count + 1
        if stays - now > last then last = stays - now end
      elseif stays > now and not own then
        own = permits
      end
      if stays ~= ends_at or stays <= now or is_own then
        if start > from then pieces[#pieces + 1] = sub(value, from, start - 1) end
        from = start + 24
        if stays > now and not is_own then pieces[#pieces + 1] = pack('<ddd', whose, permits, stays) end
      end
    end
    if from <= length then pieces[#pieces + 1] = sub(value, from, length) end

    local room = limit - others
    if room < 0 then room = 0 end
    local kept_by_node = own or 0
    if target < kept_by_node then kept_by_node = target end
    if in_use > kept_by_node then kept_by_node = in_use end
    local more = target - kept_by_node
    if more < 0 then more = 0 end
    local free = room - kept_by_node
    if free < 0 then free = 0 end
    local most = -(-free / 2 - -free / 2 % 1)
    if flags >= 4 or count >= NODES_MAX then
      more = 0
    elseif most < more then
      more = most
    end
    local granted = kept_by_node + more
    local bound = room
    if in_use > bound then bound = in_use end
    if bound < granted then granted = bound end
    if granted > 0 and count < NODES_MAX then
      pieces[#pieces + 1] = pack('<ddd', node, granted, now + span)
      if span > last then last = now + span - now end
    end
    free = room - granted
    if free < 0 then free = 0 end
    kept[i - 1] = table.concat(pieces)
    lives[i] = last + EXTRA_US
    replies[2 * i] = pack('<Bdd', damaged, granted, free)
    replies[2 * i + 1] = ''
  else
    local holds, clears = false, false
    local has_lock = false
    if flags >= 64 then
      local more = byte(records, at)
      if flags >= 128 or not more or more > 7 then return redis.error_reply('SGARG flags') end
      at = at + 1
      holds = more % 2 >= 1
      clears = more % 4 >= 2
      has_lock = more >= 4
      if has_lock and flags % 8 > 0 then return redis.error_reply('SGARG flags') end
    end
    if flags % 8 < 4 then
      interval, burst, ttl, theta, overdraft, at = unpack_from('<ddddd', records, at)
      lock = 0
      if has_lock then
        lock, at = unpack_from('<d', records, at)
        if not (lock > 0 and lock < MOST) then return redis.error_reply('SGARG lock') end
      end
      if not (interval > 0 and burst > 0 and ttl > 0 and theta > 0 and overdraft >= 0)
        or not (interval + burst + ttl + theta + overdraft < MOST and (burst + overdraft) * interval < MOST)
      then
        return redis.error_reply('SGARG terms')
      end
      rate_of_limit = 1 / interval
    elseif not interval then
      return redis.error_reply('SGARG terms')
    end
    local pay, take, want, refund, asked, own, chance
    local epoch_a, spent_a, returned_a, epoch_b, spent_b, returned_b, seen, seen_epoch, held
    if flags % 16 >= 8 then
      -- In one go, as most records are.
      pay, take, want, refund, asked, own, chance, epoch_a, spent_a, returned_a, at = unpack_from('<dddddddddd', records, at)
    else
      pay, take, want, refund, asked, own, chance, at = unpack_from('<ddddddd', records, at)
    end
    if not (pay >= 0 and take >= 0 and want >= 0 and refund >= 0 and asked >= 0 and own >= 0 and chance >= 0)
      or not (pay + take + want + refund + asked + own < MOST and chance < 1)
    then
      return redis.error_reply('SGARG ask')
    end
    local reserved_a, reserved_b = 0, 0
    if flags >= 8 then
      if epoch_a then
        if holds then reserved_a, at = unpack_from('<d', records, at) end
        if not (epoch_a > 0 and spent_a >= 0 and returned_a >= 0 and reserved_a >= 0 and epoch_a < huge)
          or not (spent_a + returned_a + reserved_a < MOST)
        then
          return redis.error_reply('SGARG settled')
        end
      end
      if flags % 32 >= 16 then
        epoch_b, spent_b, returned_b, at = unpack_from('<ddd', records, at)
        if holds then reserved_b, at = unpack_from('<d', records, at) end
        if not (epoch_b > 0 and spent_b >= 0 and returned_b >= 0 and reserved_b >= 0 and epoch_b < huge)
          or not (spent_b + returned_b + reserved_b < MOST)
        then
          return redis.error_reply('SGARG settled')
        end
      end
    end
    if flags % 64 >= 32 then
      seen, seen_epoch, held, at = unpack_from('<ddd', records, at)
      if not (seen >= 0 and seen_epoch >= 0 and held >= 0 and seen < huge and seen_epoch < huge and held < MOST) then
        return redis.error_reply('SGARG heal')
      end
    end

    local tat, demand, demand_at, current, previous, ends_at, locked_until
    local spent = 0
    local window, begins_at, elapsed, available
    if kind == 0 then
      locked_until = 0
      if value and #value == 48 then
        tat, demand, demand_at, current, previous, ends_at = unpack_from('<dddddd', value)
      elseif value and #value == 56 then
        tat, demand, demand_at, current, previous, ends_at, locked_until = unpack_from('<ddddddd', value)
      elseif value then
        damaged = 1
      end
      if not tat then
        tat, demand, demand_at, current, previous, ends_at = 0, 0, 0, 0, 0, 0
      elseif not (tat >= 0 and demand >= 0 and demand_at >= 0 and current >= 0 and previous >= 0 and ends_at >= 0
        and tat < huge and demand <= DEMAND_MAX and demand_at < huge and current < huge and previous < huge and ends_at < huge
        and locked_until >= 0 and locked_until < huge)
      then
        damaged, tat, demand, demand_at, current, previous, ends_at, locked_until = 1, 0, 0, 0, 0, 0, 0, 0
      end

      -- After a clock that went back, what is owed is what was owed at the last exchange.
      local back = demand_at - now
      if back > BACK_US then
        tat = tat - back
        if tat < 0 then tat = 0 end
        if locked_until > 0 then
          locked_until = locked_until - back
          if locked_until < now then locked_until = now end
        end
        demand_at = now
        damaged = 1
      end

      -- A lock that is over leaves the key as never seen at its end.
      if locked_until > 0 and now >= locked_until then
        tat = locked_until
        locked_until = 0
      end

      -- The epoch that `now` lies in; what nobody reported of a dead one counts as spent when it died.
      if ends_at > now + ttl then ends_at = (now / ttl - now / ttl % 1 + 1) * ttl end
      if now >= ends_at then
        spent = previous
        local dead = current + previous
        if dead > burst then dead = burst end
        local floor_then = ends_at + dead * interval
        if floor_then > tat then tat = floor_then end
        if now < ends_at + ttl then
          previous = current
          ends_at = ends_at + ttl
        else
          dead = current
          if dead > burst then dead = burst end
          floor_then = ends_at + ttl + dead * interval
          if floor_then > tat then tat = floor_then end
          spent = spent + current
          previous = 0
          ends_at = (now / ttl - now / ttl % 1 + 1) * ttl
        end
        current = 0
      end
      local latest = now + (burst + overdraft) * interval
      if tat > latest then
        tat = now + burst * interval
        damaged = 1
      end
      if lock <= 0 then locked_until = 0 end
      if locked_until > now + lock then
        locked_until = now + lock
        damaged = 1
      end
      -- What is outstanding blocks refill, before any report is settled.
      local blocked = current + previous
      if blocked > burst then blocked = burst end
      blocked = now + blocked * interval
      if blocked > tat then tat = blocked end
      if held then
        if seen > latest then seen = now + burst * interval end
        if seen > tat then tat = seen end
        local most = burst - previous
        if current > most then most = current end
        current = current + held
        if current > most then current = most end
        if lock > 0 and seen_epoch > now then
          local until_then = now + lock
          if seen_epoch < until_then then until_then = seen_epoch end
          if until_then > locked_until then locked_until = until_then end
        end
      end
      -- What is reserved moves to the present epoch.
      if epoch_a then
        if epoch_a == ends_at then
          if returned_a > current then returned_a = current end
          current = current - spent_a - returned_a
          if current < 0 then current = 0 end
          tat = tat - returned_a * interval
          spent = spent + spent_a
        elseif epoch_a == ends_at - ttl then
          if returned_a > previous + current then returned_a = previous + current end
          previous = previous - (spent_a + returned_a)
          if previous < 0 then
            current = current + previous
            if current < 0 then current = 0 end
            previous = 0
          end
          tat = tat - returned_a * interval
          if reserved_a > previous then reserved_a = previous end
          previous = previous - reserved_a
          current = current + reserved_a
          spent = spent + spent_a
        end
      end
      if epoch_b then
        if epoch_b == ends_at then
          if returned_b > current then returned_b = current end
          current = current - spent_b - returned_b
          if current < 0 then current = 0 end
          tat = tat - returned_b * interval
          spent = spent + spent_b
        elseif epoch_b == ends_at - ttl then
          if returned_b > previous + current then returned_b = previous + current end
          previous = previous - (spent_b + returned_b)
          if previous < 0 then
            current = current + previous
            if current < 0 then current = 0 end
            previous = 0
          end
          tat = tat - returned_b * interval
          if reserved_b > previous then reserved_b = previous end
          previous = previous - reserved_b
          current = current + reserved_b
          spent = spent + spent_b
        end
      end
      tat = tat - refund * interval
      if clears then tat = 0 end
      blocked = current + previous
      if blocked > burst then blocked = burst end
      blocked = now + blocked * interval
      if blocked > tat then tat = blocked end
      tat = tat + pay * interval
      if tat > latest then tat = latest end
      spent = spent + pay
      available = burst - (tat - now) / interval
      if locked_until > 0 and available > 0 then available = 0 end
    else
      window = (now + UNIX_US) / ttl
      window = window - window % 1
      local counted
      if value and #value == 40 then
        counted, current, previous, demand, demand_at = unpack_from('<ddddd', value)
      elseif value then
        damaged = 1
      end
      if not counted then
        counted, current, previous, demand, demand_at = 0, 0, 0, 0, 0
      elseif not (counted >= 0 and current >= 0 and previous >= 0 and demand >= 0 and demand_at >= 0
        and counted <= window + 1 and current < huge and previous < huge and demand <= DEMAND_MAX and demand_at < huge)
      then
        damaged, counted, current, previous, demand, demand_at = 1, 0, 0, 0, 0, 0
      end
      if window > counted then
        if window == counted + 1 then previous = current else previous = 0 end
        current = 0
      else
        window = counted
      end
      begins_at = window * ttl - UNIX_US
      elapsed = now - begins_at
      if elapsed < 0 then elapsed = 0 end
      elapsed = elapsed / ttl
      local most = burst + overdraft
      if current > most or previous > most then
        if current > burst then current = burst end
        if previous > burst then previous = burst end
        damaged = 1
      end
      if held then
        if seen_epoch == window then
          if seen > current then current = seen end
        elseif seen_epoch == window - 1 then
          if seen > previous then previous = seen end
        end
      end
      if epoch_a then
        if epoch_a == window then
          current = current - returned_a
          if current < 0 then current = 0 end
        elseif epoch_a == window - 1 then
          previous = previous - returned_a
          if previous < 0 then previous = 0 end
        end
      end
      if epoch_b then
        if epoch_b == window then
          current = current - returned_b
          if current < 0 then current = 0 end
        elseif epoch_b == window - 1 then
          previous = previous - returned_b
          if previous < 0 then previous = 0 end
        end
      end
      current = current - refund
      if current < 0 then current = 0 end
      if clears then current, previous = 0, 0 end
      current = current + pay
      if kind == 1 then
        available = burst - current - previous * (1 - elapsed)
      else
        available = burst - current
      end
    end

    -- Demand, and this node's share of it.
    local age = demand_at - now
    if age < 0 then demand = demand * exp(age / theta) end
    demand = demand + asked
    if demand > DEMAND_MAX then demand = DEMAND_MAX end
    local share = 1
    if demand > 0 then
      share = own - 0.7
      if share < 0.3 then share = 0.3 end
      share = share / demand
      if share > 1 then share = 1 end
    end
    local rate = demand / theta

    -- What waits is charged as far as there is enough; the lease gets a part of what is left.
    local taken = 0
    if take > 0 then
      taken = available - available % 1
      if take < taken then taken = take end
      if taken < 0 then taken = 0 end
    end
    local granted = 0
    if want > 0 then
      local left = available - taken
      local most
      if left > burst / 2 and rate < rate_of_limit then
        most = left / 2
      else
        most = 2 * share
        if most > 1 then most = 1 end
        most = left * most
      end
      if want < most then most = want end
      if most > 0 then
        granted = most - most % 1
        if chance < most - granted then granted = granted + 1 end
        left = left - left % 1
        if left < granted then granted = left end
      end
    end

    local life
    if kind == 0 then
      tat = tat + (taken + granted) * interval
      current = current + granted
      if holds then
        current = current + taken
      else
        spent = spent + taken
      end
      -- What is spent for good and leaves no room for one more unit, whatever may come back, locks the key.
      if spent > 0 and lock > 0 and locked_until <= 0 and (tat - now) / interval - current - previous > burst - 1 then
        locked_until = now + lock
      end
      if locked_until > 0 then
        value = pack('<ddddddd', tat, demand, now, current, previous, ends_at, locked_until)
        damaged = damaged + 2
      else
        value = pack('<dddddd', tat, demand, now, current, previous, ends_at)
      end
      life = tat
      if locked_until > life then life = locked_until end
      life = life - now
      if life < 0 then life = 0 end
      life = life + 2 * ttl + EXTRA_US
    else
      current = current + (taken + granted)
      value = pack('<ddddd', window, current, previous, demand, now)
      life = begins_at + 2 * ttl - now + EXTRA_US
    end
    kept[i - 1] = value
    lives[i] = life
    replies[2 * i] = pack('<Bdd', damaged, taken, granted)
    replies[2 * i + 1] = value
  end
end
if at ~= #records + 1 then
  return redis.error_reply('SGARG length')
end

if unset or prolong > 0 then call('SET', keys[1], generation, 'PX', GENERATION_MS) end
-- A number would be written out with seventeen digits for each key, which costs more than the key's arithmetic: so lives are
-- rounded up to a quarter of a second, and written out once for all keys that live as long.
local written = {}
for i = 2, keys_count do
  local quarters = lives[i] / 250000
  if quarters > QUARTERS_MAX then quarters = QUARTERS_MAX end
  quarters = quarters + -quarters % 1
  local life = written[quarters]
  if not life then
    life = format('%d', quarters * 250)
    written[quarters] = life
  end
  call('PSETEX', keys[i], life, kept[i - 1])
end
if keys_count <= HALF then return table.concat(replies, '', 3, 2 * keys_count + 1) end
return { table.concat(replies, '', 3, 2 * HALF + 1), table.concat(replies, '', 2 * HALF + 2, 2 * keys_count + 1) }
