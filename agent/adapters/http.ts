// The Http port: single GETs and connections for health, each on a connection of its own, as a stranger would come.

import http from 'node:http'
import https from 'node:https'
import { connect, isIP } from 'node:net'
import type { Http } from '../ports.ts'

export function httpClient(): Http {
  return { get, connect: connectTo }
}

const get: Http['get'] = ({ ip, port, path, host, tls }, timeoutMs, signal) =>
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
    const name = host.replace(/:\d+$/, '')
    const begin = () =>
      tls
        ? https.get({ ...options, servername: isIP(name) ? '' : name, rejectUnauthorized: false }, onResponse)
        : http.get(options, onResponse)
    let request: http.ClientRequest
    try {
      request = begin()
    } catch (error) {
      // Node refuses to send it, as a path with a blank.
      return resolve({ fault: (error as NodeJS.ErrnoException).code ?? String(error) })
    }
    request.on('error', (error: NodeJS.ErrnoException) => {
      if (signal.aborted) reject(signal.reason)
      else
        resolve({
          fault: deadline.aborted ? `no answer within ${timeoutMs} ms` : (error.code ?? error.message),
        })
    })
  })

const connectTo: Http['connect'] = ({ ip, port }, timeoutMs, signal) =>
  new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)])
    const socket = connect({ host: ip, port })
    const onAbort = () => socket.destroy(new Error('aborted'))
    deadline.addEventListener('abort', onAbort, { once: true })
    const end = (fault: string | undefined) => {
      deadline.removeEventListener('abort', onAbort)
      socket.destroy()
      if (signal.aborted) reject(signal.reason)
      else resolve(fault !== undefined && deadline.aborted ? `no answer within ${timeoutMs} ms` : fault)
    }
    socket.on('connect', () => end(undefined))
    socket.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message))
  })
