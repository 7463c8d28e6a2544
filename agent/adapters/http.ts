// The Http port: single GETs for health, each on a connection of its own, as a stranger would come.

import http from 'node:http'
import https from 'node:https'
import { isIP } from 'node:net'
import type { Http } from '../ports.ts'

export function httpClient(): Http {
  return {
    get: ({ ip, port, path, host, tls }, timeoutMs, signal) =>
      new Promise((resolve, reject) => {
        if (signal.aborted) return reject(signal.reason)
        const deadline = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)])
        const options = {
          host: ip,
          port,
          path,
          headers: { host, connection: 'close' },
          agent: false,
          signal: deadline,
        }
        const onResponse = (response: http.IncomingMessage) => {
          response.resume()
          resolve({ status: response.statusCode ?? 0 })
        }
        // The certificate is the user's business with the outside; here only "does it answer" is asked.
        const request = tls
          ? https.get(
              { ...options, servername: isIP(host) ? '' : host, rejectUnauthorized: false },
              onResponse,
            )
          : http.get(options, onResponse)
        request.on('error', (error: NodeJS.ErrnoException) => {
          if (signal.aborted) reject(signal.reason)
          else
            resolve({
              fault: deadline.aborted ? `no answer within ${timeoutMs} ms` : (error.code ?? error.message),
            })
        })
      }),
  }
}
