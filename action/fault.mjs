// Why the job fails, in a sentence and its cure. Whatever else is thrown is a bug of the action.

export class Fault extends Error {
  /**
   * @param {string} message
   * @param {string} [cure]
   */
  constructor(message, cure) {
    super(cure === undefined ? message : `${message}; ${cure}`)
  }
}
