"""URLs of the questionnaires. The token in the path is a capability: whoever holds the link may answer."""

from django.urls import URLPattern, path
from django.views.generic import RedirectView

from instruments import tablet_views, views

urlpatterns: list[URLPattern] = [
    path("q/service-worker.js", views.service_worker, name="service_worker"),
    path("q/locked/", views.locked, name="questionnaire_locked"),
    path("q/code/", views.enter_code, name="questionnaire_code"),
    path("q/shell/", views.shell, name="questionnaire_shell"),
    path("q/tablet/", tablet_views.tablet, name="tablet"),
    path("q/tablet/unlock/", tablet_views.unlock, name="tablet_unlock"),
    path("q/tablet/next/", tablet_views.look, name="tablet_next"),
    path("q/tablet/report/", tablet_views.report, name="tablet_report"),
    path("q/tablet/code/", tablet_views.enrol_with_code, name="tablet_enrol_with_code"),
    path("q/tablet/enrol/<str:token>/", tablet_views.enrol, name="tablet_enrol"),
    path("q/tablet/open/<str:token>/", tablet_views.open_link, name="tablet_open"),
    path("tablet/", RedirectView.as_view(pattern_name="tablet"), name="tablet_short"),  # short to type
    path("forms/<str:key>/<str:form>/<str:role>/<str:language>/<str:digest>.json", views.form_texts, name="form_texts"),
    path("q/<str:token>/", views.questionnaire, name="questionnaire"),
    path("q/<str:token>/consent/", views.questionnaire_consent, name="questionnaire_consent"),
    path("q/<str:token>/page/<int:number>/", views.questionnaire_page, name="questionnaire_page"),
    path("q/<str:token>/language/", views.questionnaire_language, name="questionnaire_language"),
    path("q/<str:token>/display/", views.questionnaire_display, name="questionnaire_display"),
    path("q/<str:token>/review/", views.questionnaire_review, name="questionnaire_review"),
    path("q/<str:token>/finish/", views.questionnaire_finish, name="questionnaire_finish"),
    path("q/<str:token>/cannot/", views.questionnaire_cannot, name="questionnaire_cannot"),
    path("q/<str:token>/again/", views.questionnaire_again, name="questionnaire_again"),
    path("q/<str:token>/answers/", views.questionnaire_answers, name="questionnaire_answers"),
    path("q/<str:token>/state/", views.questionnaire_state, name="questionnaire_state"),
    path("q/<str:token>/deliver/", views.questionnaire_deliver, name="questionnaire_deliver"),
]
