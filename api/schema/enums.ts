import { TOKEN_SCOPES } from '../../domain/account/token-scope.ts';
import { LOG_SOURCES } from '../../domain/logs/line.ts';
import { NOTIFICATION_PREFERENCES } from '../../domain/notifications.ts';
import { CONTAINER_NETWORKS, PULL_POLICIES } from '../../domain/payload/container-schema.ts';
import { DNS_RECORD_TYPES, HTTP_METHODS, HTTP_VERSIONS } from '../../domain/payload/heartbeat-schema.ts';
import {
  MISSED_RUN_POLICIES,
  OVERLAP_POLICIES,
  PAUSE_REASONS,
  TOO_MANY_FAILURES_ACTIONS,
} from '../../domain/schedule/run-policy.ts';
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
  HEARTBEAT: 'A check of an HTTP, TCP or DNS endpoint, or of the platform itself; or pings that are expected.',
  CONTAINER: 'A container of a Docker image.',
});

export const BuildStatusEnum = describedEnum('BuildStatus', 'The state of a build.', BUILD_STATUSES, {
  QUEUED: 'The build waits for a worker.',
  STARTED: 'A worker is preparing the image.',
  COMPLETED: 'The image is ready.',
  FAILED: 'The image could not be prepared. `error` says why.',
  CANCELED: 'The payload changed or the workflow ended before the build was done.',
});

export const JobStatusEnum = describedEnum('JobStatus', 'The state of a job.', JOB_STATUSES, {
  PENDING: 'The job waits for another job of its workflow to end, or for its next attempt.',
  QUEUED: 'The job waits for a worker.',
  RUNNING: 'A worker is running the job.',
  COMPLETED: 'The job succeeded.',
  FAILED: 'The job failed. `failureReason` and `failureMessage` say why.',
  CANCELED: 'The job was canceled on request, or because its workflow ended. It may never have run.',
});

export const JobTriggerEnum = describedEnum('JobTrigger', 'What caused a job.', JOB_TRIGGERS, {
  AUTOMATIC: 'The schedule of its workflow.',
  MANUAL: 'A call of `runWorkflow`.',
  PING: 'A ping of a push heartbeat.',
});

export const FailureReasonEnum = describedEnum('FailureReason', 'Why a job failed.', FAILURE_REASONS, {
  EXIT_CODE: 'The container exited with a code other than 0.',
  CHECK_FAILED: 'The check got another result than expected.',
  TIMEOUT: 'The job took longer than `timeoutSeconds`.',
  OUT_OF_MEMORY: 'The container used more memory than it may.',
  START_FAILED:
    'The container could not start, for example because the command or the working directory does not exist.',
  SYSTEM: 'The platform failed, not the workflow. The failure does not count towards termination.',
});

export const TerminationReasonEnum = describedEnum(
  'TerminationReason',
  'Why a workflow was terminated.',
  TERMINATION_REASONS,
  {
    REQUESTED: 'A call of `terminateWorkflow`.',
    FAILURES: '`maxConsecutiveJobFailuresAllowed` jobs in a row failed.',
    DELETED: 'The workflow was deleted.',
  },
);

export const OverlapPolicyEnum = describedEnum(
  'OverlapPolicy',
  'What happens to a slot that is due while a job of its workflow is active.',
  OVERLAP_POLICIES,
  {
    QUEUE: 'The newest such slot waits for the end of the job.',
    SKIP: 'The slot is dropped.',
    REPLACE: 'The job is canceled, and the slot runs after its end.',
  },
);

export const MissedRunPolicyEnum = describedEnum(
  'MissedRunPolicy',
  'What happens to slots that passed while nothing could run them.',
  MISSED_RUN_POLICIES,
  {
    RUN_LATEST: 'The last of them runs, late.',
    SKIP: 'A slot that is more than 60 seconds late is dropped.',
  },
);

export const TooManyFailuresActionEnum = describedEnum(
  'TooManyFailuresAction',
  'What happens when `maxConsecutiveJobFailuresAllowed` jobs in a row have failed.',
  TOO_MANY_FAILURES_ACTIONS,
  {
    TERMINATE: 'The workflow is terminated for good.',
    PAUSE: 'The workflow is paused until it is resumed.',
    NOTHING: 'The workflow goes on.',
  },
);

export const PauseReasonEnum = describedEnum('PauseReason', 'Why a workflow is paused.', PAUSE_REASONS, {
  REQUESTED: 'A call of `pauseWorkflow`.',
  FAILURES: '`maxConsecutiveJobFailuresAllowed` jobs in a row failed.',
});

export const NotificationPreferenceEnum = describedEnum(
  'NotificationPreference',
  'Which notifications a user gets.',
  NOTIFICATION_PREFERENCES,
  {
    ALL: 'Notifications of every kind.',
    ALERTS: 'Notifications of every kind except JOB_COMPLETED.',
    NONE: 'No notifications.',
  },
);

export const TokenScopeEnum = describedEnum('TokenScope', 'What an API token may do.', TOKEN_SCOPES, {
  READ: 'Run queries and subscriptions, and download logs.',
  RUN: 'The same, and call `runWorkflow` and `cancelJob`.',
  WRITE: 'Everything that does not need a session.',
});

export const LogStreamEnum = describedEnum('LogStream', 'The output stream of a line.', ['STDOUT', 'STDERR'] as const, {
  STDOUT: 'Standard output.',
  STDERR: 'Standard error.',
});

export const LogSourceEnum = describedEnum('LogSource', 'What wrote a line.', LOG_SOURCES, {
  PROGRAM: 'The program in the container, or a step of the build. Its lines can contain any text.',
  SYSTEM:
    'Chronoverse: a message about the job or the build, or the result of a check. No program can print lines with this source.',
});

export const ContainerNetworkEnum = describedEnum(
  'ContainerNetwork',
  'The network of a container.',
  CONTAINER_NETWORKS,
  {
    BRIDGE:
      "A network of the engine, with access to whatever the engine's host can reach. Containers cannot reach each other.",
    NONE: 'No network except the loopback interface.',
  },
);

export const PullPolicyEnum = describedEnum(
  'PullPolicy',
  'When a build asks a registry for an image. A job always runs the image that its build has found.',
  PULL_POLICIES,
  {
    ALWAYS:
      'Each build asks the registry what the name means now, and pulls it if the Docker engine has another image. While the registry is away, the build waits.',
    IF_MISSING: 'A build takes the image that the Docker engine has, and asks the registry only if there is none.',
    NEVER: 'A build takes the image that the Docker engine has, or fails.',
  },
);

export const HttpMethodEnum = describedEnum('HttpMethod', 'The method of an HTTP request.', HTTP_METHODS, {
  GET: 'Requests the resource.',
  HEAD: 'Requests the headers only.',
  POST: 'Posts a body.',
  PUT: 'Puts a body.',
});

export const HttpVersionEnum = describedEnum('HttpVersion', 'A version of HTTP that a check speaks.', HTTP_VERSIONS, {
  AUTO: 'HTTP/2 where a server of https:// has it, otherwise HTTP/1.1, as in browsers.',
  HTTP_1_1: 'HTTP/1.1.',
  HTTP_2: 'HTTP/2. A server without it fails the check.',
});

export const DnsRecordTypeEnum = describedEnum('DnsRecordType', 'A type of DNS records.', DNS_RECORD_TYPES, {
  A: 'IPv4 addresses.',
  AAAA: 'IPv6 addresses.',
  CAA: 'Who may issue certificates.',
  CNAME: 'The name that this one stands for.',
  MX: 'Where mail goes.',
  NS: 'The name servers of the zone.',
  PTR: 'The names of an address.',
  SOA: 'The start of the zone, with its serial number.',
  SRV: 'Where a service is.',
  TXT: 'Texts.',
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
