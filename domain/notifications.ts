/** The notifications that a user gets. ALERTS is every kind except JOB_COMPLETED. */
export const NOTIFICATION_PREFERENCES = ['ALL', 'ALERTS', 'NONE'] as const;
export type NotificationPreference = (typeof NOTIFICATION_PREFERENCES)[number];

export const NOTIFICATION_KINDS = [
  'WORKFLOW_BUILD_FAILED',
  'WORKFLOW_TERMINATED',
  'WORKFLOW_PAUSED',
  'WORKFLOW_RECOVERED',
  'RUN_SKIPPED',
  'RUN_LATE',
  'JOB_LONG',
  'JOB_SHORT',
  'JOB_FAILED',
  'JOB_COMPLETED',
  'CHANNEL_DISABLED',
] as const;
export type NotificationKind = (typeof NOTIFICATION_KINDS)[number];

/** What a notification stores. Its words are made when it is read. */
export interface NotificationContent {
  kind: NotificationKind;
  /** Null for CHANNEL_DISABLED, which concerns no workflow. */
  workflowName: string | null;
  detail: string | null;
}

const TITLES: Record<NotificationKind, (name: string) => string> = {
  WORKFLOW_BUILD_FAILED: (name) => `The build of ${name} has failed`,
  WORKFLOW_TERMINATED: (name) => `${name} was terminated`,
  WORKFLOW_PAUSED: (name) => `${name} was paused`,
  WORKFLOW_RECOVERED: (name) => `${name} works again`,
  RUN_SKIPPED: (name) => `A run of ${name} was skipped`,
  RUN_LATE: (name) => `A run of ${name} is late`,
  JOB_LONG: (name) => `A job of ${name} takes long`,
  JOB_SHORT: (name) => `A job of ${name} has completed too soon`,
  JOB_FAILED: (name) => `A job of ${name} has failed`,
  JOB_COMPLETED: (name) => `A job of ${name} has completed`,
  CHANNEL_DISABLED: () => 'An alert channel was disabled',
};

const MESSAGES: Record<NotificationKind, (detail: string | null) => string> = {
  WORKFLOW_BUILD_FAILED: (detail) => detail ?? 'Its image could not be prepared.',
  WORKFLOW_TERMINATED: (count) =>
    `It has had ${failures(count)} in a row, as many as it allows: it will not run again.`,
  WORKFLOW_PAUSED: (count) =>
    `It has had ${failures(count)} in a row, as many as it allows. Resume it when the reason is gone.`,
  WORKFLOW_RECOVERED: (count) => `A job has completed after ${failures(count)} in a row.`,
  RUN_SKIPPED: (detail) => detail ?? 'It could not start in time.',
  RUN_LATE: (detail) => detail ?? 'It has not started in time.',
  JOB_LONG: (detail) => detail ?? 'It runs longer than expected, and goes on.',
  JOB_SHORT: (detail) => detail ?? 'It took less time than expected.',
  JOB_FAILED: (detail) => detail ?? 'It has not done what it should.',
  JOB_COMPLETED: () => 'It has done what it should.',
  CHANNEL_DISABLED: (detail) => detail ?? 'It does not take messages.',
};

/** The title: a line for a list. */
export function titleOf({ kind, workflowName }: NotificationContent): string {
  return TITLES[kind](workflowName ?? 'a workflow');
}

/** The message: a sentence that says what happened. */
export function messageOf({ kind, detail }: NotificationContent): string {
  return MESSAGES[kind](detail);
}

function failures(count: string | null): string {
  return count === '1' ? '1 failure' : `${count} failures`;
}
