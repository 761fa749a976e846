// Search for pages that are opened from a folder: browsers start no worker for them, so it runs in a hidden frame.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      this.waiting = [];
      frame.addEventListener("load", () => {
        const inside = frame.contentWindow;
        if (this.inside) return;
        // What a worker sends goes to whoever made it.
        inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
        inside.importScripts = () => {};
        const script = inside.document.createElement("script");
        script.src = url;
        script.addEventListener("load", () => {
          this.inside = inside;
          for (const data of this.waiting.splice(0)) this.postMessage(data);
        });
        inside.document.head.append(script);
      });
      frame.srcdoc = "<!doctype html><title>search</title>";
      document.body.append(frame);
    }
    postMessage(data) {
      if (this.inside) this.inside.dispatchEvent(new MessageEvent("message", { data }));
      else this.waiting.push(data);
    }
    terminate() {}
  };
}
