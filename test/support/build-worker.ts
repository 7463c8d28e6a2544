// Once before all tests, so that those which run at the same time do not each bundle the Worker.

export { buildWorker as default } from '../build.ts'
