import { TOKEN_SCOPES } from '../../domain/account/token-scope.ts';
import { LOG_SOURCES } from '../../domain/logs/line-flags.ts';
import { NOTIFICATION_PREFERENCES } from '../../domain/notifications.ts';
import { CONTAINER_NETWORKS } from '../../domain/payload/container-schema.ts';
import { HTTP_METHODS } from '../../domain/payload/heartbeat-schema.ts';
import {
  BUILD_STATUSES,
  FAILURE_REASONS,
  JOB_STATUSES,
  JOB_TRIGGERS,
  TERMINATION_REASONS,
  WORKFLOW_KINDS,
} from '../../domain/states.ts';
import { builder } from './builder.ts';

/** The enums that several types share. A value without a description does not compile. */

export const WorkflowKindEnum = describedEnum('WorkflowKind', 'What a workflow runs.', WORKFLOW_KINDS, {
  HEARTBEAT: 'A check: of an HTTP, TCP or DNS endpoint, or of the platform itself.',
  CONTAINER: 'A Docker image.',
});

export const BuildStatusEnum = describedEnum('BuildStatus', 'How far a build is.', BUILD_STATUSES, {
  QUEUED: 'It waits for a worker.',
  STARTED: 'A worker prepares the image.',
  COMPLETED: 'The image is ready.',
  FAILED: 'The image could not be prepared: `error` says why.',
  CANCELED: 'The payload was changed, or the workflow ended, before the build had.',
});

export const JobStatusEnum = describedEnum('JobStatus', 'How far a job is.', JOB_STATUSES, {
  PENDING: 'It waits for its turn: for another job of its workflow, or for its next attempt.',
  QUEUED: 'It waits for a worker.',
  RUNNING: 'A worker runs it.',
  COMPLETED: 'It has done what it should.',
  FAILED: 'It has not: `failureReason` and `failureMessage` say why.',
  CANCELED: 'It was stopped, or never run, on request or because its workflow ended.',
});

export const JobTriggerEnum = describedEnum('JobTrigger', 'Why there is a job.', JOB_TRIGGERS, {
  AUTOMATIC: 'Its workflow was due.',
  MANUAL: 'Somebody asked for it with `runWorkflow`.',
});

export const FailureReasonEnum = describedEnum('FailureReason', 'Why a job has FAILED.', FAILURE_REASONS, {
  EXIT_CODE: 'The container ended with an exit code other than 0.',
  CHECK_FAILED: 'The check found something else than it should.',
  TIMEOUT: 'It took longer than its time-out.',
  OUT_OF_MEMORY: 'It used more memory than it may.',
  START_FAILED: 'The container could not be started: the command or the working directory is not there, for example.',
  SYSTEM: "The platform's fault, not the workflow's: it does not count towards termination.",
});

export const TerminationReasonEnum = describedEnum(
  'TerminationReason',
  'Why a workflow has ended.',
  TERMINATION_REASONS,
  {
    REQUESTED: 'Somebody asked for it with `terminateWorkflow`.',
    FAILURES: 'As many jobs in a row have failed as it allows.',
    DELETED: 'It was deleted.',
  },
);

export const NotificationPreferenceEnum = describedEnum(
  'NotificationPreference',
  'What a user is told of.',
  NOTIFICATION_PREFERENCES,
  {
    ALL: 'Everything that there is a kind of notification for.',
    ALERTS: 'Everything but JOB_COMPLETED.',
    NONE: 'Nothing.',
  },
);

export const TokenScopeEnum = describedEnum('TokenScope', 'What an API token may do.', TOKEN_SCOPES, {
  READ: 'Queries, subscriptions and downloads.',
  RUN: 'The same, `runWorkflow` and `cancelJob`.',
  WRITE: 'Everything that does not need a session.',
});

export const LogStreamEnum = describedEnum('LogStream', 'Where a line was printed to.', ['STDOUT', 'STDERR'] as const, {
  STDOUT: 'Standard output.',
  STDERR: 'Standard error.',
});

export const LogSourceEnum = describedEnum('LogSource', 'Who wrote a line.', LOG_SOURCES, {
  PROGRAM: 'The program in the container, or a step of the build. Such a line can look like any other.',
  SYSTEM:
    'Chronoverse itself: a message about the job or the build, or the result of a check. No program can print such a line.',
});

export const ContainerNetworkEnum = describedEnum('ContainerNetwork', 'What a container reaches.', CONTAINER_NETWORKS, {
  BRIDGE: "The engine's own network, and what that leads to.",
  NONE: 'Nothing but itself.',
});

export const HttpMethodEnum = describedEnum('HttpMethod', 'The method of an HTTP request.', HTTP_METHODS, {
  GET: 'Reads.',
  HEAD: 'Reads the headers alone.',
  POST: 'Sends a body.',
  PUT: 'Sends a body.',
});

export function describedEnum<const Values extends readonly string[]>(
  name: string,
  description: string,
  values: Values,
  descriptions: Record<Values[number], string>,
) {
  const described = new Map<string, string>(Object.entries(descriptions));
  const entries = values.map((value) => [value, { description: described.get(value) ?? '' }] as const);
  return builder.enumType(name, {
    description,
    values: Object.fromEntries(entries) as Record<Values[number], { description: string }>,
  });
}
