"""Every URL of the site; each package brings its own."""

from django.contrib import admin
from django.urls import include, path

from healing_survey import health

urlpatterns = [
    path("health/live/", health.live, name="health_live"),
    path("health/ready/", health.ready, name="health_ready"),
    path("i18n/", include("django.conf.urls.i18n")),
    path("admin/", admin.site.urls),
    path("", include("instruments.urls")),
    path("", include("instruments.staff_urls")),
    path("", include("analysis.urls")),
    path("", include("studies.urls")),
]

handler400 = "healing_survey.error_pages.bad_request"
handler403 = "healing_survey.error_pages.permission_denied"
handler404 = "healing_survey.error_pages.page_not_found"
handler500 = "healing_survey.error_pages.server_error"
