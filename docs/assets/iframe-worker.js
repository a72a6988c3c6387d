// Browsers start no worker from the local file system: there, the search of the site runs in a frame.
// The theme takes a worker of this name for one, and asks of it what is here (its offline plugin would load a script of
// the same purpose from elsewhere).
if (location.protocol === "file:") {
  window.IFrameWorker = window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      document.body.append(this.frame)
      const inner = this.frame.contentWindow
      const load = (address) =>
        new Promise((done) => {
          const script = inner.document.createElement("script")
          script.src = address
          script.onload = script.onerror = done
          inner.document.body.append(script)
        })
      inner.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }))
      inner.importScripts = (...addresses) => addresses.reduce((before, one) => before.then(() => load(one)), Promise.resolve())
      this.ready = load(new URL(url, location).href)
    }

    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })))
    }

    terminate() {
      this.frame.remove()
    }
  }
}
