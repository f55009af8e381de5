-- Whether some tasks that come before a dependent one, or children of a suspended one, may still fire their edges.
-- KEYS the keys of the group, then the task key of each id
-- ARGV group, the id of the dependent task, ids of those before it
-- Returns what is noted of the dependent task ('' if it does not wait for what has been stored), 1 if one of the others
-- has not ended, then an id: of one that is in no place any more, so that its edges have never fired; '' if there is
-- none.
local keys, group, waiting, lost = slice(KEYS, 1, FIRST_TASK - 1), ARGV[1], ARGV[2], ''
local parent, one = parents.at(keys, waiting), dependents.at(keys, waiting)
if parent and parent.need <= 0 then return {'', 0, ''} end
local waits = parent or one and not one.has_started and one.absent <= 0 and not dependents.may_start(one)
if not waits then return {'', 0, ''} end

-- The policy of the edge from a task that has ended to the dependent one; nil if its message is gone.
local function policy_of(task)
  for _, edge in ipairs(edges_of(read(keys[PLACES[task.place]], task.entry) or {})) do
    if edge.id == waiting then return edge.policy end
  end
end

for item = 3, #ARGV do
  local task = task_at(KEYS[FIRST_TASK - 3 + item])
  local is_lost, goes_on = not task.place, false
  if task.ended then
    local policy = task.state ~= '5' and policy_of(task)
    is_lost, goes_on = policy == nil, task.place == 'f' and policy == 'w'
  elseif task.place then
    is_lost = is_gone(keys, group, task)
    goes_on = not is_lost
  end
  if goes_on then return {'', 1, ''} end
  if is_lost and lost == '' then lost = ARGV[item] end
end
return {call('HGET', keys[DEPENDENTS], parent and '+' .. waiting or waiting), 0, lost}
