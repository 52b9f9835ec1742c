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
    query: `# 2. A HEARTBEAT without an endpoint checks the platform itself, here every minute.
mutation CreateHeartbeat {
  createWorkflow(
    input: { name: "Self check", payload: { heartbeat: {} }, interval: 1, maxConsecutiveJobFailuresAllowed: 3 }
  ) {
    workflow { id name kind nextRunAt }
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
      interval: 60
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
