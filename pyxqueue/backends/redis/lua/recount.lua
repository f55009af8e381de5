-- Look at the gates at which tasks wait, as if each had just had room: another program may have deleted what says when
-- that is. And count their tokens, if few messages are ready or in flight: it may have deleted messages that had some,
-- or the counts, so that the gates would have no room for ever, or too much.
-- KEYS the keys of the group
-- ARGV group, where to go on in the lines ('' at first)
-- Returns where to go on ('' at the end), of how many gates the count was wrong, then the tasks whose turn it is.
local MOST = 64 -- messages that are read: they may be long
local keys, group, from, wrong = slice(KEYS, 1, FIRST_TASK - 1), ARGV[1], ARGV[2], 0
check_gates(keys)

-- Count the tokens of the messages in a live stream. Returns false if they are too many, or if one in flight is gone:
-- its holder may be running it.
local function count_stream(stream, counts)
  if call('XLEN', stream) > MOST then return false end
  local there = {}
  for _, row in ipairs(call('XRANGE', stream, '-', '+')) do
    local fields = unpacked(row[2])
    there[row[1]] = true
    for _, gate in ipairs(field(fields, '_tokens') and gates_of(fields) or {}) do
      counts[gate] = (counts[gate] or 0) + 1
    end
  end
  for _, row in ipairs(call('XPENDING', stream, group, '-', '+', MOST + 1)) do
    if not there[row[1]] then return false end
  end
  return true
end

-- By gate, or nil if that is not known: who stands in a fair line has tokens too.
local function tokens()
  local counts = {}
  if #call('ZRANGEBYLEX', keys[LINES], '[' .. FAIR, '(fair;', 'LIMIT', 0, 1) > 0 then return nil end
  for _, live in ipairs(live_streams(keys)) do
    if not count_stream(live[2], counts) then return nil end
  end
  return counts
end

local function set_right(gate, number)
  local name = 'used:' .. gate
  if (ms(call('HGET', keys[GATES], name)) or 0) == number then return end
  wrong = wrong + 1
  if number > 0 then call('HSET', keys[GATES], name, int(number)) else call('HDEL', keys[GATES], name) end
end

allow_writes(keys[NEW], group)
local counts = tokens()
for _ = 1, HEADS do
  local standing = call('ZRANGEBYLEX', keys[LINES], '[' .. from, '+', 'LIMIT', 0, 1)[1]
  if not standing then
    from = ''
    break
  end
  local gate = string.match(standing, '^[^%z]*')
  from = gate .. '\1'
  if is_fair(gate) then
    from = 'fair;' -- behind all fair lines, which are looked at when something is claimed
  else
    if counts then set_right(gate, counts[gate] or 0) end
    note_turn(keys, gate)
  end
end
return with_turns(keys, {from, wrong})
