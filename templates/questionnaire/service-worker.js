{% load static %}"use strict";
importScripts("{% static 'questionnaire/queue.js' %}");
const SHELL = "{% url 'questionnaire_shell' %}";
const FILES = [
  SHELL, "{% static 'questionnaire/questionnaire.css' %}", "{% static 'questionnaire/questionnaire.js' %}",
  "{% static 'questionnaire/queue.js' %}", "{% static 'questionnaire/patient.js' %}",
  "{% static 'questionnaire/rating.js' %}",
];
const KEPT = "shell " + FILES.join(" ");

self.addEventListener("install", (event) => event.waitUntil((async () => {
  await (await caches.open(KEPT)).addAll(FILES);
  await self.skipWaiting();
})()));

self.addEventListener("activate", (event) => event.waitUntil((async () => {
  for (const name of await caches.keys()) if (name.startsWith("shell ") && name !== KEPT) await caches.delete(name);
  await self.clients.claim();
  await self.AnswerQueue.flush();
})()));

self.addEventListener("sync", (event) => event.waitUntil(self.AnswerQueue.flush()));

// Files of the page come from here. A page itself comes from the server; only when that can't be reached, an empty one
// that shows what waits on this device. No page of the server is ever kept.
const page = async (request) => {
  try {
    const response = await fetch(request);
    if (response.status < 500) return response;
  } catch { /* no connection */ }
  return (await caches.match(SHELL)) ?? Response.error();
};

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (url.origin !== location.origin) return;
  if (request.mode === "navigate") {
    if (url.pathname.startsWith("/q/")) event.respondWith(page(request));
  } else if (request.method === "GET" && FILES.includes(url.pathname)) {
    event.respondWith((async () => (await caches.match(url.pathname)) ?? fetch(request))());
  }
});

self.AnswerQueue.flush();
