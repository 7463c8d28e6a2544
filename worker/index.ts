// The Worker's entry: the routes and the Durable Object class, nothing else.

export { app as default } from './app.ts'
export { Hub } from './hub/hub.ts'
