// The secrets that example/ropeway.example.yml names, each of them another.

export const EXAMPLE_ENV: Readonly<Record<string, string>> = {
  ROPEWAY_HELLO_SECRET: `whsec_${btoa('0123456789abcdefghijklmnopqrstuv')}`,
  ROPEWAY_HELLO_SECRET_OLD: `whsec_${btoa('vutsrqponmlkjihgfedcba9876543210')}`,
  ROPEWAY_HELLO_REGISTRY_SECRET: '5d41402abc4b2a76b9719d911017c592cdb6e15f9d2f4f61',
  ...Object.fromEntries(
    ['HUB', 'GHCR', 'REGISTRY', 'HARBOR', 'QUAY', 'GITLAB', 'GITEA', 'ECR', 'ACR', 'ZOT', 'JFROG'].map(
      (name) => [`${name}_SECRET`, `the-secret-of-${name}-in-this-test`],
    ),
  ),
  ROPEWAY_HELLO_SLACK_URL: 'https://hooks.slack.com/services/T0/B0/secret-of-slack',
  ROPEWAY_HELLO_DISCORD_URL: 'https://discord.com/api/webhooks/0/secret-of-discord',
  ROPEWAY_HELLO_TEAMS_URL: 'https://0.1.environment.api.powerplatform.com/x?sig=secret-of-teams',
  ROPEWAY_HELLO_HOOK_URL: 'https://example.com/secret-of-the-hook',
  ROPEWAY_HELLO_HOOK_SECRET: `whsec_${btoa('a secret that no trigger has')}`,
  ROPEWAY_HELLO_GITHUB_TOKEN: 'github_pat_0123456789',
  ROPEWAY_SLACK_SECRET: '0123456789abcdef0123456789abcdef',
  ROPEWAY_SLACK_TOKEN: 'xoxb-0123456789-abcdefghijklmnop',
  ROPEWAY_TELEGRAM_SECRET: 'fedcba9876543210fedcba9876543210',
  ROPEWAY_TELEGRAM_TOKEN: `123456789:${'A'.repeat(35)}`,
  ROPEWAY_MATTERMOST_SECRET: 'abcdefghijklmnopqrstuvwxyz',
  ROPEWAY_MATTERMOST_TOKEN: 'zyxwvutsrqponmlkjihgfedcba',
  ROPEWAY_TEAMS_SECRET: btoa('the key of an outgoing webhook 1'),
  ROPEWAY_DISCORD_TOKEN: `${'A'.repeat(24)}.AAAAAA.${'a'.repeat(27)}`,
}
