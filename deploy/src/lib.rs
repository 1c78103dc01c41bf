//! serverless.yml to resources, applied through the AWS APIs.
