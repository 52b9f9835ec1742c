/** A tab of GraphiQL: a document and its variables. */
export interface GraphiqlTab {
  query: string;
  variables?: string;
}

/** GraphiQL opens with a tab for each step from the first account to a job's output. */
export const graphiqlTabs: GraphiqlTab[] = [
  {
    query: `# 1. Create an account. The answer signs this browser in with a cookie, which every other tab needs.
# If you have an account, run the tab SignIn.
mutation SignUp {
  signUp(input: { email: "ann@example.com", password: "correct horse battery" }) {
    user { id email }
    token
    userErrors { code message path }
  }
}
`,
  },
  {
    query: `# Sign in again, with your own email and password.
mutation SignIn {
  signIn(input: { email: "ann@example.com", password: "correct horse battery" }) {
    user { id email }
    userErrors { code message path }
  }
}
`,
  },
  {
    query: `# 2. A HEARTBEAT without an endpoint checks the platform itself, here each five minutes by a cron expression.
mutation CreateHeartbeat {
  createWorkflow(
    input: {
      name: "Self check"
      payload: { heartbeat: {} }
      schedule: { cron: { expressions: ["*/5 * * * *"], timeZone: "Europe/Berlin" } }
      maxConsecutiveJobFailuresAllowed: 3
    }
  ) {
    workflow { id name kind nextRunAt }
    userErrors { code message path }
  }
}
`,
  },
  {
    query: `# See when a schedule would run. This stores nothing.
query Preview {
  schedulePreview(
    schedule: { cron: { expressions: ["30 2 * * MON-FRI", "0 9 1 * *"], timeZone: "Europe/Berlin" } }
    first: 5
  ) {
    runs { at localTime shifted }
    userErrors { code message path }
  }
}
`,
  },
  {
    query: `# 3. A CONTAINER runs a Docker image. It needs a Docker engine.
mutation CreateContainer {
  createWorkflow(
    input: {
      name: "Hello"
      payload: {
        container: {
          image: "alpine:3"
          command: ["sh", "-c"]
          args: ["for n in 1 2 3 4 5; do echo $GREETING $n; sleep 1; done"]
          env: [{ name: "GREETING", value: "hello" }]
        }
      }
      schedule: { everyMinutes: 60 }
      maxConsecutiveJobFailuresAllowed: 3
    }
  ) {
    workflow { id buildStatus build { id status error } }
    userErrors { code message path }
  }
}
`,
  },
  {
    query: `# 4. Run a workflow now. The id of the newest one is in the variables.
mutation Run($workflowId: ID!) {
  runWorkflow(input: { id: $workflowId }) {
    job { id status }
    userErrors { code message path }
  }
}
`,
    variables: '{\n  "workflowId": ""\n}\n',
  },
  {
    query: `# 5. Follow live what a job prints. The id of the newest one is in the variables.
subscription Follow($jobId: ID!) {
  jobLogs(jobId: $jobId) {
    firstNumber
    lastNumber
    text
    cursor
  }
}
`,
    variables: '{\n  "jobId": ""\n}\n',
  },
  {
    query: `# Pause a workflow: it makes no slots until it is resumed.
mutation Pause($workflowId: ID!) {
  pauseWorkflow(input: { id: $workflowId, note: "The disk is being replaced" }) {
    workflow { id pausedAt pausedUntil nextRunAt }
    userErrors { code message path }
  }
}
`,
    variables: '{\n  "workflowId": ""\n}\n',
  },
  {
    query: `# Resume it: it goes on with its first slot after now.
mutation Resume($workflowId: ID!) {
  resumeWorkflow(input: { id: $workflowId }) {
    workflow { id pausedAt nextRunAt }
    userErrors { code message path }
  }
}
`,
    variables: '{\n  "workflowId": ""\n}\n',
  },
  {
    query: `# Alerts: a webhook of yours hears when a workflow begins to fail and when it works again.
# Also: email { address }, slack { url }, discord { url } and ntfy { url topic }. The secret is shown this once.
mutation CreateAlertChannel {
  createAlertChannel(
    input: { name: "ops", target: { webhook: { url: "https://hooks.example.com/alerts" } } }
  ) {
    alertChannel { id target state events }
    secret
    userErrors { code message path }
  }
}

# Send a test to it: put its id here. The answer says how that went.
mutation TestAlertChannel {
  testAlertChannel(input: { id: "" }) {
    delivery { status error }
    userErrors { code message path }
  }
}
`,
  },
  {
    query: `# 6. See your workflows, and how their last runs went.
query Overview {
  viewer { email }
  workflows(first: 10) {
    nodes {
      id
      name
      kind
      buildStatus
      nextRunAt
      consecutiveJobFailuresCount
      jobs(first: 3) {
        nodes { id status startedAt durationMs failureMessage logLineCount }
      }
    }
    pageInfo { hasNextPage endCursor }
  }
  system { version database bus cache docker }
}
`,
  },
];
