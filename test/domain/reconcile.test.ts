import { describe, expect, test } from 'vitest';
import { type LastJob, type Reconcilable, reconcile } from '../../domain/reconcile.ts';
import { OVERLAP_POLICIES, type OverlapPolicy } from '../../domain/schedule/run-policy.ts';
import type { ScheduleState } from '../../domain/states.ts';

const FRESH: LastJob = {
  status: 'PENDING',
  attempts: 0,
  ageSeconds: 0,
  leaseExpiredSeconds: -20,
  retryInSeconds: 0,
  beganAfterSlot: false,
  cancelRequested: false,
};

/** What a schedule may have done last. The lease of a lost job expired a minute ago. */
const JOBS = {
  none: undefined,
  ended: { ...FRESH, status: 'COMPLETED' },
  pending: FRESH,
  returned: { ...FRESH, attempts: 2 },
  retrying: { ...FRESH, retryInSeconds: 40 },
  'retry due': { ...FRESH, retryInSeconds: -1, ageSeconds: 40 },
  queued: { ...FRESH, status: 'QUEUED' },
  running: { ...FRESH, status: 'RUNNING', attempts: 1 },
  stopping: { ...FRESH, status: 'RUNNING', attempts: 1, cancelRequested: true },
  lost: { ...FRESH, status: 'RUNNING', attempts: 1, leaseExpiredSeconds: 60 },
  'lost, stopping': { ...FRESH, status: 'RUNNING', attempts: 1, leaseExpiredSeconds: 60, cancelRequested: true },
  'lost at last': { ...FRESH, status: 'RUNNING', attempts: 3, leaseExpiredSeconds: 60 },
} satisfies Record<string, LastJob | undefined>;
type Job = keyof typeof JOBS;

/** What its slot may be. Without a due one, the next comes in 600 s. */
const SLOTS = {
  none: { slotDue: false, nextRunInSeconds: undefined },
  later: { slotDue: false, nextRunInSeconds: 600 },
  soon: { slotDue: false, nextRunInSeconds: 10 },
  due: { slotDue: true, nextRunInSeconds: -1 },
  late: { slotDue: true, slotLate: true, nextRunInSeconds: -90 },
  'due, exhausted': { slotDue: true, exhausted: true, nextRunInSeconds: -1 },
  'late, exhausted': { slotDue: true, slotLate: true, exhausted: true, nextRunInSeconds: -90 },
};
type Slot = keyof typeof SLOTS;

function given(job: Job, slot: Slot, more: Partial<Reconcilable> = {}): Reconcilable {
  return {
    kind: 'HEARTBEAT',
    state: 'READY',
    pauseEndsInSeconds: undefined,
    overlap: 'QUEUE',
    slotLate: false,
    exhausted: false,
    requested: false,
    watchedSeconds: Number.POSITIVE_INFINITY,
    lastJob: JOBS[job],
    ...SLOTS[slot],
    ...more,
  };
}

/** A decision in one line: the act, in how many seconds it looks again, and whether it waits. */
function decided(schedule: Reconcilable): string {
  const { act, wakeInSeconds, waiting } = reconcile(schedule);
  return `${act} ${wakeInSeconds ?? 'never'}${waiting ? ' waiting' : ''}`;
}

/** For each job: what happens without a due slot (the next one comes in 600 s). */
const WITHOUT_SLOT: Record<Job, string> = {
  none: 'NOTHING 600',
  ended: 'NOTHING 600',
  pending: 'DISPATCH_AGAIN 30',
  returned: 'NOTHING 10',
  retrying: 'NOTHING 40',
  'retry due': 'DISPATCH_AGAIN 30',
  queued: 'NOTHING 30',
  running: 'NOTHING 20',
  stopping: 'NOTHING 20',
  lost: 'RETURN 5',
  'lost, stopping': 'CANCEL 0',
  'lost at last': 'FAIL 0',
};

/** A due slot waits for an active job under QUEUE, whose course stays as it is. */
const waits = (job: Job) => `${WITHOUT_SLOT[job]} waiting`;
const IDLE: Job[] = ['none', 'ended'];
const ACTIVE = (Object.keys(JOBS) as Job[]).filter((job) => !IDLE.includes(job));
const NOT_RUNNING: Job[] = ['pending', 'returned', 'retrying', 'retry due', 'queued'];
const ARE_STOPPING: Job[] = ['stopping', 'lost, stopping'];

function atDueSlot(job: Job, slot: Slot, overlap: OverlapPolicy): string {
  const isLate = slot.startsWith('late');
  const dropped = slot.endsWith('exhausted') ? 'REFILL 1' : 'SKIP_SLOT 0';
  if (IDLE.includes(job)) {
    if (isLate) return dropped;
    return slot === 'due' ? 'NOTHING 0' : 'REFILL 1'; // queueDueSlots makes the job
  }
  switch (overlap) {
    case 'QUEUE':
      return waits(job);
    case 'SKIP':
      return dropped;
    case 'REPLACE':
      if (isLate) return dropped; // no job is canceled for a slot that would not run
      if (ARE_STOPPING.includes(job)) return waits(job);
      return 'REPLACE 0 waiting';
  }
}

describe.each(Object.keys(JOBS) as Job[])('with a job that is %s', (job) => {
  test.each(OVERLAP_POLICIES)('%s changes nothing while no slot is due', (overlap) => {
    expect(decided(given(job, 'later', { overlap }))).toBe(WITHOUT_SLOT[job]);
  });

  test.each(OVERLAP_POLICIES)('a slot that is due, late, or behind the end of its calendar follows %s', (overlap) => {
    const slots: Slot[] = ['due', 'late', 'due, exhausted', 'late, exhausted'];
    expect(slots.map((slot) => decided(given(job, slot, { overlap })))).toEqual(
      slots.map((slot) => atDueSlot(job, slot, overlap)),
    );
  });

  test('an open pause hides the slots, and leaves the job alone', () => {
    for (const overlap of OVERLAP_POLICIES) {
      for (const slot of Object.keys(SLOTS) as Slot[])
        expect(decided(given(job, slot, { overlap, pauseEndsInSeconds: 'OPEN' }))).toBe(
          IDLE.includes(job) ? 'NOTHING never' : WITHOUT_SLOT[job],
        );
    }
  });

  test('a pause with an end wakes the schedule then', () => {
    for (const overlap of OVERLAP_POLICIES) {
      for (const slot of Object.keys(SLOTS) as Slot[]) {
        const [act, seconds] = IDLE.includes(job) ? ['NOTHING', 3] : WITHOUT_SLOT[job].split(' ');
        const wake = Math.min(Number(seconds), 3);
        expect(decided(given(job, slot, { overlap, pauseEndsInSeconds: 3 }))).toBe(`${act} ${wake}`);
      }
    }
  });

  test('a pause that is over ends before anything else', () => {
    for (const overlap of OVERLAP_POLICIES) {
      for (const slot of Object.keys(SLOTS) as Slot[])
        expect(decided(given(job, slot, { overlap, pauseEndsInSeconds: 0 }))).toBe(
          slot.endsWith('exhausted') ? 'REFILL 1' : 'END_PAUSE 0',
        );
    }
  });

  test.each<ScheduleState>(['BLOCKED', 'TERMINATED'])(
    'a schedule that is %s drops, replaces and refills nothing, and no pause ends',
    (state) => {
      const expected = IDLE.includes(job)
        ? `${state === 'BLOCKED' ? 'NOTHING' : 'REMOVE'} never`
        : state === 'TERMINATED' && NOT_RUNNING.includes(job)
          ? 'CANCEL 0 waiting'
          : waits(job);
      for (const overlap of OVERLAP_POLICIES) {
        for (const slot of Object.keys(SLOTS) as Slot[]) {
          for (const pauseEndsInSeconds of [undefined, 'OPEN', 3, -1] as const)
            expect(decided(given(job, slot, { state, overlap, pauseEndsInSeconds }))).toBe(expected);
        }
      }
    },
  );

  test('a request goes before a slot, in a pause too', () => {
    const expected = IDLE.includes(job) ? 'DISPATCH_REQUESTED 30 waiting' : waits(job);
    for (const slot of ['later', 'due', 'late', 'due, exhausted'] as const)
      expect(decided(given(job, slot, { requested: true }))).toBe(expected);
    for (const pauseEndsInSeconds of ['OPEN', 3] as const)
      expect(decided(given(job, 'due', { requested: true, pauseEndsInSeconds }))).toBe(expected);
  });
});

test('a slot that was due before a requested job was dispatched waits for it', () => {
  for (const overlap of OVERLAP_POLICIES) {
    for (const slot of ['due', 'late', 'due, exhausted'] as const) {
      const lastJob = { ...JOBS.running, status: 'RUNNING', beganAfterSlot: true } as const;
      expect(decided(given('running', slot, { overlap, lastJob }))).toBe(waits('running'));
    }
  }
});

test('a retry waits its own time, and a lost worker before it adds none', () => {
  const job = { ...FRESH, attempts: 1, ageSeconds: 5, retryInSeconds: 40 };
  expect(decided(given('none', 'none', { lastJob: job }))).toBe('NOTHING 40');
  expect(decided(given('none', 'none', { lastJob: { ...job, retryInSeconds: -1 } }))).toBe('DISPATCH_AGAIN 30');
  expect(decided(given('none', 'none', { lastJob: { ...job, retryInSeconds: -1, ageSeconds: 1 } }))).toBe('NOTHING 4');
});

test('the next slot wakes a schedule whose job is active, before the job needs a look', () => {
  for (const job of ACTIVE) {
    const [act, seconds] = WITHOUT_SLOT[job].split(' ');
    expect(decided(given(job, 'soon'))).toBe(`${act} ${Math.min(Number(seconds), 10)}`);
    expect(decided(given(job, 'none'))).toBe(WITHOUT_SLOT[job]);
  }
  expect(decided(given('ended', 'none'))).toBe('NOTHING never');
});
