// The directives that send a request on, and whom they send it to.

/** `proxy_pass` and its kin. */
export const PASS = /^(proxy|fastcgi|grpc|uwsgi|scgi|memcached)_pass$/

/** The host in `http://app1:3000/path`, `app1:9000` or `app1`; nothing where a variable is a part of it. */
export function targetOf(value: string): string {
  const match = /^(?:\w+:\/\/)?(?:\[([^\]]*)\]|([^\s:/?$]+))(?::\d+(?=[/?$]|$)|(?=[/?]|$))/.exec(value)
  return match?.[1] ?? match?.[2] ?? ''
}
