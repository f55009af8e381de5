-- Everything that is known about tasks, for people who look.
-- KEYS the five keys of the group, then the task key of each id
-- ARGV group, ids
-- Returns per id: {task hash, flat; message fields; holder; 1 if its record is still readable}, or 0 if it is not known.
local keys, group, now, answers = slice(KEYS, 1, 5), ARGV[1], now_ms(), {}
local places = {live = keys[STREAM], parked = keys[PARKED], history = keys[HISTORY], failed = keys[FAILED]}
for item = 2, #ARGV do
  local id, task = ARGV[item], KEYS[4 + item]
  local all = redis.call('HGETALL', task)
  if #all == 0 and entry_id(id) and read(keys[STREAM], id) then
    all = {'at', 'live', 'e', id}
  end
  local at, entry = field(all, 'at'), field(all, 'e')
  local finished = field(all, 'finished')
  if not at then
    answers[#answers + 1] = 0
  else
    local pending = at == 'live' and redis.call('XPENDING', keys[STREAM], group, entry, entry, 1) or {}
    local held = pending[1] or {}
    local readable = finished and finished + field(all, 'ttl') > now
    local fields = entry ~= '' and read(places[at], entry)
    answers[#answers + 1] = {all, fields or {}, held[2] or '', readable and 1 or 0}
  end
end
return answers
