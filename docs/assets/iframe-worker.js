// Search where pages are opened from disk: browsers start no workers from file: addresses, so the script of the search
// runs in a frame instead. Material for MkDocs looks for the name IFrameWorker (its plug-in `offline` would fetch such a
// script from elsewhere).
if (location.protocol === "file:") {
  class IFrameWorker extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.appendChild(this.frame);
      this.inside = this.frame.contentWindow;
      this.ready = new Promise((done) => {
        window.addEventListener("message", (event) => {
          if (event.source !== this.inside) return;
          this.dispatchEvent(new MessageEvent("message", { data: event.data }));
          if (this.onmessage) this.onmessage(event);
        });
        this.frame.addEventListener("load", done, { once: true });
      });
      const frame = this.inside.document;
      frame.open();
      frame.write(
        "<script>postMessage = (data) => parent.postMessage(data, '*');" +
          "importScripts = (...names) => names.reduce((before, name) => before.then(() => new Promise((done, failed) => {" +
          "const one = document.createElement('script'); one.src = name; one.onload = done; one.onerror = failed;" +
          "document.body.appendChild(one); })), Promise.resolve());</script>" +
          `<body><script src="${url}"></script></body>`,
      );
      frame.close();
    }

    postMessage(data) {
      this.ready.then(() => this.inside.dispatchEvent(new MessageEvent("message", { data })));
    }

    terminate() {
      this.frame.remove();
    }
  }
  window.IFrameWorker = IFrameWorker;
  window.Worker = IFrameWorker;
}
