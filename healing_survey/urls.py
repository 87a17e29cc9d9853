"""Every URL of the site; each package brings its own."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from healing_survey import attention, health, metrics

urlpatterns = [
    path("health/live/", health.live, name="health_live"),
    path("health/ready/", health.ready, name="health_ready"),
    path("metrics/", metrics.metrics, name="metrics"),
    path("messages/put-away/", attention.put_away, name="message_put_away"),
    path("i18n/", include("django.conf.urls.i18n")),
    # One door: the sign-in of Django's admin knows neither the second factor nor the waiting after wrong passwords.
    path("admin/login/", RedirectView.as_view(pattern_name="login", query_string=True), name="admin_login"),
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
