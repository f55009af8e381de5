-- Everything that is known about tasks, for people who look.
-- KEYS the five keys of the group, meta, then the task key of each id, then the record key of each
-- ARGV group, ids
-- Returns per id: {task hash, flat; message fields; holder; 1 if its record is still readable; since when it is held,
-- '' if it is not or that is not known}, or 0 if the task is not known.
local keys, group, now, answers = slice(KEYS, 1, 5), ARGV[1], now_ms(), {}
local meta = KEYS[6]
local places = {live = keys[STREAM], parked = keys[PARKED], history = keys[HISTORY], failed = keys[FAILED]}
for item = 2, #ARGV do
  local id, task = ARGV[item], KEYS[5 + item]
  local all = all_of(task)
  local foreign = #all == 0 and entry_id(id) and read(keys[STREAM], id)
  if foreign then all = {'at', 'live', 'e', id} end
  local at, entry = field(all, 'at'), field(all, 'e')
  local finished, lives = ms(field(all, 'ended')), ms(field(all, 'ttl'))
  if not at then
    answers[#answers + 1] = 0
  else
    local pending = at == 'live' and entry and redis.pcall('XPENDING', keys[STREAM], group, entry, entry, 1) or {}
    local held = pending[1] or {}
    local fields = entry and entry ~= '' and places[at] and read(places[at], entry)
    if not fields and not held[2] and is_gone(keys, group, at, entry) then
      finish_gone(keys, meta, group, task, id, now)
      all = all_of(task)
      finished, lives = now, ms(field(all, 'ttl'))
    elseif not fields and at == 'failed' then -- it cannot be run again, so its id need not be kept
      allow_writes(keys[STREAM], group)
      redis.call('HSET', task, 'at', 'history', 'e', '')
      redis.call('PEXPIRE', task, lives and lives > DEDUPE_MS and int(lives) or DEDUPE_MS)
    end
    local readable = finished and lives and finished + lives > now
    if readable then all = whole(all, KEYS[5 + #ARGV - 1 + item]) end
    local since = ''
    if held[2] and started_with(field(all, 'started'), entry) then
      since = string.match(field(all, 'started'), '%d+$')
    elseif held[2] and not foreign then
      since = int(now - held[3])
    end
    answers[#answers + 1] = {all, fields or {}, held[2] or '', readable and 1 or 0, since}
  end
end
return answers
